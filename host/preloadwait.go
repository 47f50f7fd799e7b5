package host

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// preloadChild is the preload process's name among the children before there is a
// core that gives names.
const preloadChild postmaster.ChildID = 0

// preloadWait is the state of waiting for one preload child: for its result, and
// for its exit. It never blocks; the event loop, or the one before that, feeds it.
type preloadWait struct {
	host  *host
	child postmaster.ChildID
	limit *time.Timer // library_init_timeout, or nil

	library foundLibrary
	got     *preloaded
	end     *postmaster.Exited
	stop    error // why the child was put an end to, or why there is none
}

// preloaded is the event that carries the preload child's result.
type preloaded struct {
	wait   *preloadWait
	result handshake.PreloadResult
	err    error
}

// tooLate is the event that a preload child has used up its time.
type tooLate struct{ wait *preloadWait }

// newPreloadWait begins to wait for a child that is being started.
func (h *host) newPreloadWait(child postmaster.ChildID) *preloadWait {
	w := &preloadWait{host: h, child: child}
	if limit := h.store.Duration(settings.LibraryInitTimeout); limit > 0 {
		w.limit = time.AfterFunc(limit, func() { h.post(tooLate{w}) })
	}
	return w
}

// close ends the timer.
func (w *preloadWait) close() {
	if w.limit != nil {
		w.limit.Stop()
	}
}

// over reports whether there is an outcome.
func (w *preloadWait) over() bool { return w.end != nil && (w.got != nil || w.stop != nil) }

// started begins the conversation with the process; nil means that there is none.
func (w *preloadWait) started(p *process, ev started) {
	if p == nil {
		w.stop = fatal(elog.SystemError, ev.result.err, "could not fork preload process: %v", ev.result.err)
		w.end = &postmaster.Exited{}
		return
	}
	w.library = *ev.result.library
	go w.host.readPreload(w, p.socket, ev.startup)
	if w.stop != nil {
		w.abort(w.stop)
	}
}

// abort puts an end to the child, if it is not gone.
func (w *preloadWait) abort(why error) {
	if w.end != nil {
		return
	}
	w.stop = why
	if p := w.host.children.byID[w.child]; p != nil {
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
}

// tooLate ends an Init that has used up its time.
func (w *preloadWait) tooLate() {
	if !w.over() && w.stop == nil {
		w.abort(leaveOut(elog.New(elog.Warning, elog.InternalError, "its Init has not returned within %s", w.host.store.Duration(settings.LibraryInitTimeout)).
			WithHint("If it needs that long, raise \"%s\".", settings.LibraryInitTimeout)))
	}
}

// take notes the result.
func (w *preloadWait) take(ev preloaded) {
	if w.got != nil {
		return
	}
	w.got = &ev
	if w.end == nil && ev.err != nil && !isGone(ev.err) {
		w.host.children.fail(w.child, ev.err)
	}
}

// exited notes the end of the process. Its last words may still be on their way;
// who has inherited its end of the socket can't hold up anybody for long.
func (w *preloadWait) exited(end postmaster.Exited) {
	w.end = &end
	if w.got == nil {
		time.AfterFunc(goneGrace, func() { w.host.post(preloaded{wait: w, err: os.ErrDeadlineExceeded}) })
	}
}

// outcome decides between a result, an error that ends a start, and leaving the
// library out.
func (w *preloadWait) outcome() (*preload, error) {
	if w.stop != nil {
		return nil, w.stop
	}
	end := w.end
	var incompatible *elog.ErrorData
	var unlimited notExecuted
	switch {
	case errors.As(w.got.err, &unlimited): // the others need not suffer from that
		return nil, leaveOut(unlimited.ErrorData)
	case errors.As(w.got.err, &incompatible):
		return nil, elog.AsErrorData(incompatible, elog.Fatal)
	case w.library.File == "" && w.library.CompiledIn == "" && w.library.Error == nil, end.Failure != nil && w.library.File == "":
		return nil, fatal(elog.InternalError, end.Failure, "preload process (PID %d) was ended: %v", end.Pid, end.Failure)
	case end.Failure != nil:
		return nil, leaveOut(end.Failure)
	case w.got.err != nil && !isGone(w.got.err):
		return nil, leaveOut(fmt.Errorf("could not read the result of the preload process (PID %d): %w", end.Pid, w.got.err))
	case w.got.err != nil || end.Status.Signaled || end.Status.Code != 0:
		return nil, leaveOut(end.Limit.AddTo(elog.New(elog.Warning, elog.InternalError, "preload process (PID %d) %s", end.Pid, end.Status).
			WithHint("Unless the log says why above, its own code has ended the process: its Init, or what comes before plugins.Main in its main function.")))
	case w.got.result.Error != nil:
		return nil, elog.AsErrorData(w.got.result.Error, elog.Fatal)
	case w.got.result.Panic != nil:
		return nil, leaveOut(w.got.result.Panic)
	}
	return &preload{w.library, w.got.result}, nil
}

// readPreload shakes hands with the preload child and reads its result.
func (h *host) readPreload(w *preloadWait, socket *os.File, startup handshake.Startup) {
	defer socket.Close()
	err := shakeHands(socket, &startup, handshakeLimit)
	var result handshake.PreloadResult
	if err == nil {
		_ = socket.SetDeadline(time.Time{}) // Init may take its time
		err = handshake.Read(socket, &result)
	}
	failpoint.Here(failpoint.PreloadRead)
	h.post(preloaded{w, result, err})
}
