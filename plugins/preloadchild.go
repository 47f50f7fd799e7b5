package plugins

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// registrations is what the preload child carries back to the postmaster.
type registrations struct {
	limit       int // max_worker_processes
	count       int // registrations that were sane, accepted or not, with those of other libraries
	workers     []BackgroundWorker
	definitions []guc.Definition
	reserved    []string

	refused   []handshake.Refusal
	refusals  int // how many there were
	checkOnly bool
	reports   []*elog.ErrorData // if checkOnly
}

// remember keeps who was refused, for those who ask why a worker does not run.
func (r *registrations) remember(w BackgroundWorker, refusal *elog.ErrorData) {
	if r == nil {
		return
	}
	if r.refusals++; len(r.refused) < shmem.Tombs {
		r.refused = append(r.refused, handshake.Refusal{Worker: w.Descriptor(), Message: refusal.Message})
	}
}

// mostRefusals is how many refusals of one library are logged.
const mostRefusals = 100

// hasEnough reports whether so many registrations have been refused that more
// of the same tells nobody anything.
func (r *registrations) hasEnough() bool { return r != nil && r.refusals > mostRefusals }

// take keeps a report for the postmaster, if it is there to be told.
func (r *registrations) take(e *elog.ErrorData) bool {
	if r == nil || !r.checkOnly {
		return false
	}
	if r.hasEnough() {
		return true
	}
	kept := *e
	kept.Cause = nil // for this process only
	r.reports = append(r.reports, &kept)
	return true
}

// add applies the checks of static registration, in bgworker.c's order.
func (r *registrations) add(w BackgroundWorker, as Personality) *elog.ErrorData {
	if err := w.SanityCheckAs(as); err != nil {
		return elog.AsErrorData(err, elog.Error)
	}
	if w.NotifyPid != 0 {
		return elog.New(elog.Error, elog.FeatureNotSupported, "background worker \"%s\": only dynamic background workers can request notification", w.Name)
	}
	if r.count++; r.count > r.limit {
		return tooManyWorkers(r.limit)
	}
	r.workers = append(r.workers, w)
	return nil
}

// result is what there is to report.
func (r *registrations) result() handshake.PreloadResult {
	result := handshake.PreloadResult{Settings: r.definitions, Reserved: r.reserved, Refused: r.refused, Reports: r.reports}
	for i := range r.workers {
		result.Workers = append(result.Workers, r.workers[i].Descriptor())
	}
	return result
}

// describeLibrary adds what the library is called and what workers can start
// in.
func describeLibrary(result *handshake.PreloadResult, loaded map[string]Library) {
	for _, lib := range loaded {
		result.Library, result.Functions = lib.Name, lib.functionNames()
	}
}

// runPreload runs a library's Init and sends what that has registered to
// the postmaster.
func (c *child) runPreload(names []string) {
	_ = c.worker.HandleSignal(unix.SIGTERM, func(w *Worker) { w.exit(1) }) // no main could notice its context
	c.worker.UnblockSignals()
	store := c.worker.settings.store
	r := &registrations{limit: store.Int(settings.MaxWorkerProcesses), count: c.startup.Registered, checkOnly: c.startup.CheckOnly}
	c.loader.preload = r
	err := c.loader.preloadAll(names)
	result := r.result()
	var panicked initPanic
	switch {
	case errors.As(err, &panicked):
		result.Panic = panicked.ErrorData
		result.Panic.Cause = nil // for this process only
	case err != nil:
		result.Error = elog.AsErrorData(err, elog.Fatal)
		explainLimit(result.Error, err, c.loader.asked)
		result.Error.Cause = nil
	default:
		describeLibrary(&result, c.loader.loaded)
	}
	if unsaid := r.refusals - mostRefusals; unsaid > 0 {
		c.worker.log.Emit(elog.New(elog.Log, elog.ProgramLimitExceeded, "%d more background workers were refused", unsaid))
	}
	failpoint.Here(failpoint.ResultSending)
	if err := handshake.Write(c.socket, result); err != nil {
		c.worker.Logf(elog.Log, "could not report to the postmaster: %v", err)
		c.worker.exit(1)
	}
	failpoint.Here(failpoint.ResultSent)
	c.worker.exit(0)
}
