package host

import (
	"errors"
	"fmt"
	"io"
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

// busyLimit is how long a library that is being written to is waited for, and
// busyPause how long between two attempts to start it.
const (
	busyLimit = 5 * time.Second
	busyPause = 50 * time.Millisecond
)

// preloadWait is the state of waiting for one preload child: for its result, and
// for its exit. It never blocks; the event loop, or the one before that, feeds it.
//
//	begin ──► being started ──► runs ──► exited, last words awaited ──► over
//	  ▲          │     │ could not be started                            ▲
//	  └─ paused ◄┘     └─────────────────────────────────────────────────┘
type preloadWait struct {
	host   *host
	child  postmaster.ChildID
	name   string      // of the library
	launch func()      // has the process started; a started event answers
	timer  *time.Timer // of what ends the present state by itself, or nil

	firstBusy time.Time // when the file was found to be written to; zero: never
	paused    bool      // until it is tried again
	process   *process  // since it was started
	library   foundLibrary
	got       *preloaded
	end       *postmaster.Exited
	stop      error            // why the child was put an end to, or why there is none
	stuck     <-chan time.Time // since there was no child to put an end to; else nil
}

// preloaded is the event that carries the preload child's result.
type preloaded struct {
	wait   *preloadWait
	result handshake.PreloadResult
	err    error
}

// tooLate is the event that a preload child has used up its time, and fileWasBusy
// the one that its start is to be tried again.
type (
	tooLate     struct{ wait *preloadWait }
	fileWasBusy struct{ wait *preloadWait }
)

// newPreloadWait returns the state before the child is started, which launch
// does.
func (h *host) newPreloadWait(child postmaster.ChildID, name string, launch func()) *preloadWait {
	return &preloadWait{host: h, child: child, name: name, launch: launch}
}

// begin has the child started, for the first time or again.
func (w *preloadWait) begin() {
	if w.end != nil {
		return
	}
	w.paused = false
	if limit := w.host.store.Duration(settings.LibraryInitTimeout); limit > 0 {
		w.after(limit, func() { w.host.post(tooLate{w}) })
	}
	w.launch()
}

// after sets the timer, in the place of what it was set to.
func (w *preloadWait) after(d time.Duration, f func()) {
	w.stopTimer()
	w.timer = time.AfterFunc(d, f)
}

func (w *preloadWait) stopTimer() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// close ends the timer and the conversation: nobody has a say any more, not even
// who has inherited the child's end of the socket.
func (w *preloadWait) close() {
	w.stopTimer()
	if w.process != nil {
		_ = w.process.socket.Close()
	}
}

// over reports whether there is an outcome.
func (w *preloadWait) over() bool { return w.end != nil && (w.got != nil || w.stop != nil) }

// started begins the conversation with the process.
func (w *preloadWait) started(p *process, ev started) {
	w.process, w.library, w.stuck = p, *ev.result.library, nil
	go w.host.readPreload(w, p.socket, ev.startup)
	if w.stop != nil {
		w.abort(w.stop)
	}
}

// triesAgain reports whether a start that has failed is tried again: somebody is
// writing to the file, or was when another process was forked, which will have
// closed it soon.
func (w *preloadWait) triesAgain(err error) bool {
	if w.stop != nil || !errors.Is(err, unix.ETXTBSY) {
		return false
	}
	if w.firstBusy.IsZero() {
		w.firstBusy = time.Now()
	}
	if time.Since(w.firstBusy) > busyLimit {
		return false
	}
	w.paused = true
	w.after(busyPause, func() { w.host.post(fileWasBusy{w}) })
	return true
}

// failed notes that there is no process, and none will be tried to start.
func (w *preloadWait) failed(result spawned) {
	if w.stop == nil {
		w.stop = notStarted(w.name, result)
	}
	w.end = &postmaster.Exited{}
}

// notStarted words the failure to start a preload child.
func notStarted(name string, result spawned) error {
	if result.library == nil || result.library.File == "" {
		return fatal(elog.SystemError, result.err, "could not fork preload process: %v", result.err)
	}
	e := elog.AsErrorData(result.err, elog.Fatal)
	e.Message, e.Code = fmt.Sprintf("could not load library \"%s\": %s", name, e.Message), elog.FileAccessCode(result.err)
	return e
}

// abort puts an end to the child, if it is not gone. If it has not been born, the
// file system of the library may be dead, and with it the only thread that starts
// processes.
func (w *preloadWait) abort(why error) {
	w.stop = why
	switch p := w.host.children.byID[w.child]; {
	case w.end != nil:
	case p != nil:
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	case w.paused:
		w.end = &postmaster.Exited{}
	case w.stuck == nil:
		w.stuck = time.After(goneGrace)
	}
}

// whyStuck is why there can be no host if the thread that starts processes does
// not come back: it would not start any other either.
func (w *preloadWait) whyStuck() error {
	var out leftOut
	if !errors.As(w.stop, &out) {
		return w.stop // it would have ended anyway
	}
	return elog.New(elog.Fatal, elog.InternalError, "could not load library \"%s\": looking for it does not end", w.name).
		WithHint("A file system on \"%s\" may not be answering.", settings.DynamicLibraryPath)
}

// tooLate ends an Init that has used up its time.
func (w *preloadWait) tooLate() {
	if w.end == nil && w.stop == nil && !w.paused {
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
// a process that it has left behind and that keeps the socket open can't hold up
// anybody for long.
func (w *preloadWait) exited(end postmaster.Exited) {
	w.end = &end
	if w.got == nil {
		socket := w.process.socket
		w.after(goneGrace, func() { _ = socket.Close() })
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
	if errors.Is(err, os.ErrClosed) { // by this side, since the child is gone
		err = io.EOF
	}
	h.post(preloaded{w, result, err})
}
