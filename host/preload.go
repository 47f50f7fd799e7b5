package host

import (
	"os"
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
// process of its own, so that no plugin code ever runs in the postmaster, and
// returns the workers they have registered. Mirrors
// process_shared_preload_libraries.
func (h *host) preloadLibraries() ([]plugins.BackgroundWorker, error) {
	if len(h.preload) == 0 {
		return nil, nil
	}
	result, err := h.runPreload("preload", false)
	if err != nil {
		return nil, err
	}
	if result.Error != nil {
		return nil, result.Error
	}
	return h.acceptPreload(result)
}

// runPreload starts the preload child and waits for its end and its result.
func (h *host) runPreload(title string, checkOnly bool) (*handshake.PreloadResult, error) {
	startup := h.startup()
	startup.Preload, startup.CheckOnly = h.preload, checkOnly
	h.children.start(preloadChild, shmem.ProcPreload, title, startup)
	return h.awaitPreload()
}

// preloaded is the event that carries the preload child's result.
type preloaded struct {
	result handshake.PreloadResult
	err    error
}

// awaitPreload is the event loop's small sister, for the time before there is a
// core: it waits for the preload child's result and its exit.
func (h *host) awaitPreload() (*handshake.PreloadResult, error) {
	var got *preloaded
	var stop error
	abort := func() {
		stop = elog.New(elog.Fatal, elog.AdminShutdown, "terminating while preloading libraries due to administrator command")
		if p := h.children.byID[preloadChild]; p != nil {
			_ = unix.Kill(-p.pid, unix.SIGKILL)
		}
	}
	done := h.ctx.Done()
	for {
		select {
		case ev := <-h.events:
			switch ev := ev.(type) {
			case started:
				p := h.children.born(ev)
				if p == nil {
					return nil, fatal(elog.SystemError, ev.result.err, "could not fork preload process: %v", ev.result.err)
				}
				go h.readPreload(p.socket, ev.startup)
				if stop != nil {
					abort()
				}
			case preloaded:
				got = &ev
				if p := h.children.byID[preloadChild]; p != nil && ev.err != nil && !isGone(ev.err) {
					h.children.fail(preloadChild, ev.err)
				}
			case exited:
				end, ok := h.children.buried(ev.child)
				if !ok {
					continue
				}
				if got == nil { // its last words may still be on their way
					got = h.lastWords()
				}
				return judgePreload(end, got, stop)
			}
		case <-h.signals.smart:
			abort()
		case <-h.signals.fast:
			abort()
		case <-h.signals.immediate:
			abort()
		case <-done:
			done = nil
			abort()
		}
	}
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

func judgePreload(end postmaster.Exited, got *preloaded, stop error) (*handshake.PreloadResult, error) {
	switch {
	case stop != nil:
		return nil, stop
	case end.Failure != nil:
		return nil, fatal(elog.InternalError, end.Failure, "preload process (PID %d) was ended: %v", end.Pid, end.Failure)
	case got.err != nil && !isGone(got.err):
		return nil, fatal(elog.InternalError, got.err, "could not read the result of the preload process (PID %d): %v", end.Pid, got.err)
	case got.err != nil || end.Status.Signaled || end.Status.Code != 0:
		return nil, elog.New(elog.Fatal, elog.InternalError, "preload process (PID %d) %s", end.Pid, end.Status).
			WithHint("Unless the log says why above, an Init function of a library in \"shared_preload_libraries\" has ended the process that ran it.")
	}
	return &got.result, nil
}

// readPreload shakes hands with the preload child and reads its result.
func (h *host) readPreload(socket *os.File, startup handshake.Startup) {
	defer socket.Close()
	err := shakeHands(socket, &startup)
	var result handshake.PreloadResult
	if err == nil {
		_ = socket.SetDeadline(time.Time{}) // Init may take its time
		err = handshake.Read(socket, &result)
	}
	failpoint.Here(failpoint.PreloadRead)
	h.post(preloaded{result, err})
}

// acceptPreload checks what the preload child has brought back as if a stranger
// had sent it: plugin code has run in that process.
func (h *host) acceptPreload(result *handshake.PreloadResult) ([]plugins.BackgroundWorker, error) {
	for _, d := range result.Settings {
		// What is wrong with values has been reported by the child.
		if _, err := h.store.Define(d); err != nil {
			return nil, elog.AsErrorData(err, elog.Fatal)
		}
	}
	for _, prefix := range result.Reserved {
		h.store.MarkPrefixReserved(prefix)
	}
	limit := h.store.Int(settings.MaxWorkerProcesses)
	if len(result.Workers) > limit {
		return nil, elog.New(elog.Fatal, elog.InternalError, "preload process returned %d background workers where %d are allowed", len(result.Workers), limit)
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
	return workers, nil
}
