package host

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// loadedLibrary is one of shared_preload_libraries, as the host has it. Once it is
// among the host's it does not change: a reload puts another in its place.
type loadedLibrary struct {
	name      string       // in the list
	found     foundLibrary // what its Init ran from
	functions []string
	settings  guc.Registered
	static    []plugins.BackgroundWorker
	loadedAt  time.Time
	leftOut   *elog.ErrorData // why it is not loaded, or nil
}

// preloadLibraries runs Init of each library of shared_preload_libraries in a
// process of its own, so that no plugin code ever runs in the postmaster and
// none harms another's. The host does without a library that ends its process,
// hangs or panics; the error is what ends a start in PostgreSQL, too: a library
// that is not there or not compatible, and one whose Init returns an error.
// Mirrors process_shared_preload_libraries.
func (h *host) preloadLibraries() error {
	for _, name := range h.preload {
		_, err := h.preloadLibrary(name, "preload", false)
		var out leftOut
		switch {
		case errors.As(err, &out):
			h.log.Emit(out.notPreloaded(name))
		case err != nil:
			return err
		}
	}
	return nil
}

// preloadLibrary runs one library's Init and keeps what that has registered, or
// why it was left out.
func (h *host) preloadLibrary(name, title string, checkOnly bool) (*preload, error) {
	result, err := h.runPreload(name, title, checkOnly)
	if err == nil && slices.ContainsFunc(h.libraries, func(l *loadedLibrary) bool {
		return l.found.is(&result.library)
	}) {
		return result, nil // the list names it twice
	}
	loaded := &loadedLibrary{name: name}
	if err == nil {
		// What is wrong with values has been reported by the child.
		_, _, err = h.acceptPreload(loaded, guc.Registered{}, result)
	}
	var out leftOut
	if errors.As(err, &out) {
		loaded = &loadedLibrary{name: name, leftOut: out.ErrorData}
	}
	h.libraries = append(h.libraries, loaded)
	return result, err
}

// staticWorkers returns what the libraries have registered, and next to each which
// of them has.
func (h *host) staticWorkers() (workers []plugins.BackgroundWorker, registrars []string) {
	for _, l := range h.libraries {
		for _, w := range l.static {
			workers, registrars = append(workers, w), append(registrars, l.name)
		}
	}
	return workers, registrars
}

// registeredBeside counts the static workers of other libraries than one.
func (h *host) registeredBeside(name string) (n int) {
	for _, l := range h.libraries {
		if l.name != name {
			n += len(l.static)
		}
	}
	return n
}

// leftOut is why the host goes on without a library, or with the one it has.
type leftOut struct{ *elog.ErrorData }

func (e leftOut) Unwrap() error { return e.ErrorData }

func leaveOut(err error) leftOut { return leftOut{elog.AsErrorData(err, elog.Warning)} }

// notPreloaded says so at the start.
func (e leftOut) notPreloaded(name string) *elog.ErrorData {
	report := elog.AsErrorData(e.ErrorData, elog.Warning)
	report.Message = fmt.Sprintf("library \"%s\" was not preloaded: %s", name, report.Message)
	if report.Hint == "" {
		report.Hint = fmt.Sprintf("Its settings and its static workers are missing until \"pgexthost plugin reload %s\" succeeds, or the host is restarted.", name)
	}
	return report
}

// preload is what came of running one library's Init.
type preload struct {
	library foundLibrary
	handshake.PreloadResult
}

// runPreload starts the preload child of a library and waits for its end and
// its result.
func (h *host) runPreload(name, title string, checkOnly bool) (*preload, error) {
	startup := h.startup()
	startup.Preload, startup.Registered, startup.CheckOnly = []string{name}, h.registeredBeside(name), checkOnly
	return h.awaitPreload(h.newPreloadWait(preloadChild, name, func() {
		h.children.start(preloadChild, shmem.ProcPreload, title, startup, h.request(name))
	}))
}

// awaitPreload is the event loop's small sister, for the time before there is a
// core.
func (h *host) awaitPreload(w *preloadWait) (*preload, error) {
	defer w.close()
	w.begin()
	done := h.ctx.Done()
	for !w.over() {
		select {
		case ev := <-h.events:
			h.preloadEvent(w, ev)
		case <-w.stuck:
			return nil, w.whyStuck()
		case <-h.signals.smart:
			w.abort(errPreloadStopped())
		case <-h.signals.fast:
			w.abort(errPreloadStopped())
		case <-h.signals.immediate:
			w.abort(errPreloadStopped())
		case <-done:
			done = nil
			w.abort(errPreloadStopped())
		}
	}
	return w.outcome()
}

// preloadEvent takes an event while there is no core.
func (h *host) preloadEvent(w *preloadWait, ev any) {
	switch ev := ev.(type) {
	case started:
		if p := h.children.born(ev); p != nil {
			w.started(p, ev)
		} else if !w.triesAgain(ev.result.err) {
			w.failed(ev.result)
		}
	case fileWasBusy:
		ev.wait.begin()
	case preloaded:
		ev.wait.take(ev)
	case tooLate:
		ev.wait.tooLate()
	case exited:
		if end, ok := h.children.buried(ev.child); ok {
			w.exited(end)
		}
	}
}

func errPreloadStopped() error {
	return elog.New(elog.Fatal, elog.AdminShutdown, "terminating while preloading libraries due to administrator command")
}

// acceptPreload checks what a preload child has brought back as if a stranger
// had sent it, since plugin code has run in that process, and takes it over into
// loaded and the settings, as a whole or not at all. Was is what the library has
// said about settings before.
func (h *host) acceptPreload(loaded *loadedLibrary, was guc.Registered, result *preload) ([]guc.Change, []*elog.ErrorData, error) {
	limit := h.store.Int(settings.MaxWorkerProcesses) - h.registeredBeside(loaded.name)
	if len(result.Workers) > limit {
		return nil, nil, leaveOut(fmt.Errorf("it returned %d background workers where %d are allowed", len(result.Workers), limit))
	}
	is := guc.Registered{Definitions: result.Settings, Reserved: result.Reserved}
	changes, reports, err := h.store.Redefine(was, is)
	if err != nil {
		return nil, nil, leaveOut(err)
	}
	loaded.found, loaded.functions, loaded.settings, loaded.loadedAt = result.library, result.Functions, is, time.Now()
	for _, d := range result.Workers {
		w := plugins.FromDescriptor(d)
		if err := w.SanityCheckAs(h.personality()); err != nil {
			h.log.Emit(elog.AsErrorData(err, elog.Log))
			continue
		}
		w.NotifyPid = 0
		loaded.static = append(loaded.static, w)
	}
	for _, r := range result.Refused {
		h.segment.Bury(shmem.Buried{At: time.Now(), Worker: r.Worker, Report: shmem.WorkerReport{Message: r.Message}})
	}
	return changes, reports, nil
}
