package host

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// preloadChild is the preload process's name among the children. The core
// never hears of it.
const preloadChild postmaster.ChildID = 0

// preloadLibraries runs Init of each library of shared_preload_libraries in a
// process of its own, so that no plugin code ever runs in the postmaster and
// none harms another's, and returns the workers they have registered. The host
// does without a library that ends its process, hangs or panics; the error is
// what ends a start in PostgreSQL, too: a library that is not there or not
// compatible, and one whose Init returns an error. Mirrors
// process_shared_preload_libraries.
func (h *host) preloadLibraries() ([]plugins.BackgroundWorker, error) {
	var static []plugins.BackgroundWorker
	for _, name := range h.preload {
		result, err := h.runPreload(name, "preload", len(static), false)
		var workers []plugins.BackgroundWorker
		if err == nil {
			workers, err = h.acceptPreload(result, h.store.Int(settings.MaxWorkerProcesses)-len(static))
		}
		var out leftOut
		switch {
		case errors.As(err, &out):
			h.log.Emit(out.ErrorData)
		case err != nil:
			return nil, err
		}
		static = append(static, workers...)
	}
	return static, nil
}

// leftOut is why the host goes on without a library.
type leftOut struct{ *elog.ErrorData }

func (e leftOut) Unwrap() error { return e.ErrorData }

func leaveOut(name string, err error) leftOut {
	e := elog.AsErrorData(err, elog.Warning)
	e.Message = fmt.Sprintf("library \"%s\" was not preloaded: %s", name, e.Message)
	if e.Hint == "" {
		e.Hint = "Its settings and its static workers are missing until the host is restarted."
	}
	return leftOut{e}
}

// preload is what came of running one library's Init.
type preload struct {
	library handshake.Library
	handshake.PreloadResult
}

// runPreload starts the preload child of a library and waits for its end and
// its result.
func (h *host) runPreload(name, title string, registered int, checkOnly bool) (*preload, error) {
	startup := h.startup()
	startup.Preload, startup.Registered, startup.CheckOnly = []string{name}, registered, checkOnly
	h.children.start(preloadChild, shmem.ProcPreload, title, startup, h.request(name))
	return h.awaitPreload(name)
}

// preloaded is the event that carries the preload child's result.
type preloaded struct {
	result handshake.PreloadResult
	err    error
}

// awaitPreload is the event loop's small sister, for the time before there is a
// core: it waits for the preload child's result and its exit.
func (h *host) awaitPreload(name string) (*preload, error) {
	w := preloadWait{host: h, name: name}
	limit := h.store.Duration(settings.LibraryInitTimeout)
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		w.tooLate = timer.C
	}
	done := h.ctx.Done()
	for {
		select {
		case ev := <-h.events:
			if w.event(ev) {
				return w.result, w.err
			}
		case <-w.tooLate:
			w.abort(leaveOut(name, elog.New(elog.Warning, elog.InternalError, "its Init has not returned within %s", limit).
				WithHint("If it needs that long, raise \"%s\".", settings.LibraryInitTimeout)))
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
}

func errPreloadStopped() error {
	return elog.New(elog.Fatal, elog.AdminShutdown, "terminating while preloading libraries due to administrator command")
}

// preloadWait is the state of waiting for one preload child.
type preloadWait struct {
	host    *host
	name    string
	tooLate <-chan time.Time
	library handshake.Library
	got     *preloaded
	stop    error // why the child was put an end to

	result *preload
	err    error
}

func (w *preloadWait) abort(why error) {
	w.stop = why
	if p := w.host.children.byID[preloadChild]; p != nil {
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
}

// event takes one event, and reports whether it was the last: then there is
// a result, or an error.
func (w *preloadWait) event(ev any) (over bool) {
	h := w.host
	switch ev := ev.(type) {
	case started:
		p := h.children.born(ev)
		if p == nil {
			w.err = fatal(elog.SystemError, ev.result.err, "could not fork preload process: %v", ev.result.err)
			return true
		}
		w.library = *ev.result.library
		go h.readPreload(p.socket, ev.startup)
		if w.stop != nil {
			w.abort(w.stop)
		}
	case preloaded:
		w.got = &ev
		if p := h.children.byID[preloadChild]; p != nil && ev.err != nil && !isGone(ev.err) {
			h.children.fail(preloadChild, ev.err)
		}
	case exited:
		end, ok := h.children.buried(ev.child)
		if !ok {
			return false
		}
		if w.got == nil { // its last words may still be on their way
			w.got = h.lastWords()
		}
		w.result, w.err = w.judge(end)
		return true
	}
	return false
}

// lastWords waits for the reader of the preload child's socket, which ends by
// itself now that the child is gone.
func (h *host) lastWords() *preloaded {
	limit := time.NewTimer(goneGrace)
	defer limit.Stop()
	for {
		select {
		case ev := <-h.events:
			if p, ok := ev.(preloaded); ok {
				return &p
			}
		case <-limit.C:
			return &preloaded{err: os.ErrDeadlineExceeded}
		}
	}
}

// judge decides between a result, an error that ends the start, and leaving
// the library out.
func (w *preloadWait) judge(end postmaster.Exited) (*preload, error) {
	if w.stop != nil {
		return nil, w.stop
	}
	var incompatible *elog.ErrorData
	var limits notExecuted
	switch {
	case errors.As(w.got.err, &limits): // the others need not suffer from that
		return nil, leaveOut(w.name, limits.ErrorData)
	case errors.As(w.got.err, &incompatible):
		return nil, elog.AsErrorData(incompatible, elog.Fatal)
	case w.library.File == "" && w.library.CompiledIn == "" && w.library.Error == nil, end.Failure != nil && w.library.File == "":
		return nil, fatal(elog.InternalError, end.Failure, "preload process (PID %d) was ended: %v", end.Pid, end.Failure)
	case end.Failure != nil:
		return nil, leaveOut(w.name, end.Failure)
	case w.got.err != nil && !isGone(w.got.err):
		return nil, leaveOut(w.name, fmt.Errorf("could not read the result of the preload process (PID %d): %w", end.Pid, w.got.err))
	case w.got.err != nil || end.Status.Signaled || end.Status.Code != 0:
		return nil, leaveOut(w.name, end.Limit.AddTo(elog.New(elog.Warning, elog.InternalError, "preload process (PID %d) %s", end.Pid, end.Status).
			WithHint("Unless the log says why above, its own code has ended the process: its Init, or what comes before plugins.Main in its main function.")))
	case w.got.result.Error != nil:
		return nil, elog.AsErrorData(w.got.result.Error, elog.Fatal)
	case w.got.result.Panic != nil:
		return nil, leaveOut(w.name, w.got.result.Panic)
	}
	return &preload{w.library, w.got.result}, nil
}

// readPreload shakes hands with the preload child and reads its result.
func (h *host) readPreload(socket *os.File, startup handshake.Startup) {
	defer socket.Close()
	err := shakeHands(socket, &startup, handshakeLimit)
	var result handshake.PreloadResult
	if err == nil {
		_ = socket.SetDeadline(time.Time{}) // Init may take its time
		err = handshake.Read(socket, &result)
	}
	failpoint.Here(failpoint.PreloadRead)
	h.post(preloaded{result, err})
}

// acceptPreload checks what a preload child has brought back as if a stranger
// had sent it: plugin code has run in that process. Limit is how many workers
// may still be registered.
func (h *host) acceptPreload(result *preload, limit int) ([]plugins.BackgroundWorker, error) {
	if slices.ContainsFunc(h.libraries, func(l handshake.Library) bool {
		return l.CompiledIn == result.library.CompiledIn && l.File == result.library.File
	}) {
		return nil, nil // the list names it twice
	}
	if len(result.Workers) > limit {
		return nil, leaveOut(result.library.Name, fmt.Errorf("it returned %d background workers where %d are allowed", len(result.Workers), limit))
	}
	for _, d := range result.Settings {
		// What is wrong with values has been reported by the child.
		if _, err := h.store.Define(d); err != nil {
			return nil, leaveOut(result.library.Name, err)
		}
	}
	for _, prefix := range result.Reserved {
		h.store.MarkPrefixReserved(prefix)
	}
	workers := make([]plugins.BackgroundWorker, 0, len(result.Workers))
	for _, d := range result.Workers {
		w := plugins.FromDescriptor(d)
		if err := w.SanityCheckAs(h.personality()); err != nil {
			h.log.Emit(elog.AsErrorData(err, elog.Log))
			continue
		}
		w.NotifyPid = 0
		workers = append(workers, w)
	}
	for _, r := range result.Refused {
		h.segment.Bury(shmem.Buried{At: time.Now(), Worker: r.Worker, Report: shmem.WorkerReport{Message: r.Message}})
	}
	h.libraries = append(h.libraries, result.library)
	return workers, nil
}
