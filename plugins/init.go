package plugins

import (
	"sync/atomic"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Init is what a library's Init function works with: PostgreSQL's
// registration and DefineCustom functions. It is valid until Init returns, and
// for one goroutine at a time.
type Init struct {
	library    string
	preloading bool
	collect    *registrations
	settings   *ownSettings
	log        *elog.Logger

	closed atomic.Bool // Init has returned
}

// PreloadInProgress reports whether the library is being loaded because
// shared_preload_libraries names it. Only then can static workers be
// registered and settings of context PGCPostmaster be defined. Mirrors
// process_shared_preload_libraries_in_progress.
func (p *Init) PreloadInProgress() bool { return p.preloading }

// RegisterBackgroundWorker registers a static worker: the host starts it as
// soon as its start time has come, in every run. The last one registered starts
// first.
//
// A registration that is refused is logged at LOG and the worker is skipped, as
// in PostgreSQL: that is no reason for Init to fail. In a worker process, which
// runs Init again, registrations are silently ignored while preloading, and
// otherwise refused with SQLSTATE 0A000. Mirrors RegisterBackgroundWorker.
func (p *Init) RegisterBackgroundWorker(w BackgroundWorker) {
	if refusal := p.register(w); refusal != nil {
		refusal.Level = elog.Log
		p.collect.remember(w, refusal)
		if !p.collect.take(refusal) && !p.collect.hasEnough() {
			p.log.Emit(refusal)
		}
	}
}

func (p *Init) register(w BackgroundWorker) *elog.ErrorData {
	if p.closed.Load() {
		return elog.New(elog.Error, elog.InternalError, "cannot register background worker \"%s\" after shmem init", w.Name)
	}
	if p.collect == nil || !p.preloading {
		if p.preloading {
			return nil
		}
		return elog.New(elog.Error, elog.FeatureNotSupported, "background worker \"%s\": must be registered in \"shared_preload_libraries\"", w.Name)
	}
	p.log.Logf(elog.Debug1, "registering background worker \"%s\"", w.Name)
	return p.collect.add(w, p.settings.personality())
}

func tooManyWorkers(limit int) *elog.ErrorData {
	plural := "s"
	if limit == 1 {
		plural = ""
	}
	return elog.New(elog.Error, elog.ConfigurationLimitExceeded, "too many background workers").
		WithDetail("Up to %d background worker%s can be registered with the current settings.", limit, plural).
		WithHint("Consider increasing the configuration parameter \"%s\".", "max_worker_processes")
}

// MarkGUCPrefixReserved says that all settings whose names begin with prefix
// and a dot have been defined: others in the configuration are reported and
// removed. Mirrors MarkGUCPrefixReserved.
func (p *Init) MarkGUCPrefixReserved(prefix string) {
	for _, report := range p.settings.store.MarkPrefixReserved(prefix) {
		p.report(report)
	}
	if p.collect != nil {
		p.collect.reserved = append(p.collect.reserved, prefix)
	}
}

// report logs what is wrong with the configuration, once: of preloaded
// libraries the preload child says it, and other processes keep quiet. A value
// that a hook refuses is another matter: a reload may have brought it after the
// preload child was gone, and the postmaster, which has no hooks, believes it
// to be in force.
func (p *Init) report(e *elog.ErrorData) {
	if p.collect.take(e) {
		return
	}
	if p.preloading && p.collect == nil && !guc.IsHookRefusal(e) {
		quiet := *e
		quiet.Level = elog.Debug2
		e = &quiet
	}
	p.log.Emit(e)
}
