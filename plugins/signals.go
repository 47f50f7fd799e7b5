package plugins

import (
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/shmem"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// SignalHandler acts on a signal. It runs on the runtime's signal goroutine and
// must return quickly, as a C handler must: set a flag, set the latch.
type SignalHandler func(w *Worker)

// Die is the default handler of SIGTERM: the worker's context ends with the
// 57P01 error as its cause, so that the statement in progress is cancelled; the
// runtime then reports FATAL and exits 1, whatever main returns, and by itself
// if main has not returned after five seconds. Mirrors bgworker_die.
func Die(w *Worker) {
	if w.dying.Swap(true) {
		return
	}
	failpoint.Here(failpoint.Dying)
	w.cancel(w.adminShutdown())
	time.AfterFunc(deafMainGrace, w.dieNow)
}

// StatementCancelHandler is the default handler of SIGINT in a worker with a
// database connection: the running statement fails with 57014 "canceling
// statement due to user request", the session survives.
func StatementCancelHandler(w *Worker) { w.cancelStatement() }

// SignalHandlerForConfigReload makes ConfigReloadPending true and sets the
// latch. It is meant for SIGHUP.
func SignalHandlerForConfigReload(w *Worker) {
	w.reload.Store(true)
	w.SetLatch()
}

// SignalHandlerForShutdownRequest makes ShutdownRequestPending true and sets
// the latch. With it on SIGTERM, main decides how to end, and its result is the
// exit code.
func SignalHandlerForShutdownRequest(w *Worker) {
	w.shutdown.Store(true)
	w.SetLatch()
}

// Ignore is SIG_IGN.
func Ignore(*Worker) {}

// deafMainGrace is how long main may take to return after SIGTERM.
const deafMainGrace = 5 * time.Second

// signalTable says what each signal does, and which ones have arrived while
// they were blocked.
type signalTable struct {
	mu       sync.Mutex
	blocked  bool
	mortal   bool // SIGTERM is not: see letDie
	handlers map[unix.Signal]SignalHandler
	pending  map[unix.Signal]bool

	unblocked chan struct{} // tells the signal goroutine to look at pending
}

// blockable lists the signals that BlockSignals holds back. From its handshake
// on a child gets them when they are sent, and does that by itself.
var blockable = []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP}

// HandleSignal installs a handler for SIGTERM, SIGINT, SIGHUP or SIGUSR2; nil
// restores the default. It returns an error for any other signal: SIGQUIT must
// end the process at once and SIGUSR1 belongs to the latch. Mirrors pqsignal.
func (w *Worker) HandleSignal(sig unix.Signal, handler SignalHandler) error {
	switch sig {
	case unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR2:
	default:
		return elog.New(elog.Error, elog.InvalidParameterValue, "cannot install a handler for signal %d", int(sig)).
			WithHint("A worker can handle SIGTERM, SIGINT, SIGHUP and SIGUSR2.")
	}
	w.signals.mu.Lock()
	defer w.signals.mu.Unlock()
	if handler == nil {
		handler = w.defaultHandler(sig)
	}
	w.signals.handlers[sig] = handler
	return nil
}

func (w *Worker) defaultHandler(sig unix.Signal) SignalHandler {
	switch {
	case sig == unix.SIGTERM:
		return Die
	case sig == unix.SIGINT && w.entry.Flags&BackendDatabaseConnection != 0:
		return StatementCancelHandler
	case sig == unix.SIGHUP && w.kind == shmem.ProcAuxiliary:
		// From the beginning: what a process has read at its start may be old by the
		// time its main function could say that it wants to hear of news.
		return SignalHandlerForConfigReload
	}
	return Ignore
}

// BlockSignals holds back SIGTERM, SIGINT and SIGHUP until UnblockSignals.
// Mirrors BackgroundWorkerBlockSignals.
func (w *Worker) BlockSignals() {
	w.signals.mu.Lock()
	defer w.signals.mu.Unlock()
	w.signals.blocked = true
	w.proc.MakeUnready()
}

// UnblockSignals lets signals through. Those that have arrived meanwhile are
// handled next, on the signal goroutine like all others. The runtime calls it
// before main, unless the function is one of the library's ManualSignals.
// Mirrors BackgroundWorkerUnblockSignals.
func (w *Worker) UnblockSignals() {
	w.signals.mu.Lock()
	defer w.signals.mu.Unlock()
	w.signals.blocked = false
	w.proc.MakeReady()
	if len(w.signals.pending) > 0 {
		select {
		case w.signals.unblocked <- struct{}{}:
		default: // the goroutine knows already
		}
	}
}

// leadsGroup reports whether this process leads a process group of its own, as
// every child of a host does.
func leadsGroup() bool { return unix.Getpgrp() == os.Getpid() }

// takePending returns the signals that were held back, unless they must still
// be.
func (t *signalTable) takePending() map[unix.Signal]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.blocked {
		return nil
	}
	pending := t.pending
	t.pending = make(map[unix.Signal]bool)
	return pending
}

// catchSignals starts the goroutines that own signal delivery. It must run
// before anything else in the process: until then the default actions hold.
func (w *Worker) catchSignals() {
	w.holdSignals()
	go w.serveUrgent(earlySignals())
	go w.serveHandled(earlySignals())
}

// holdSignals makes the table of a process that has just begun: signals are
// held back, and all have their default handlers.
func (w *Worker) holdSignals() {
	w.signals.blocked = true
	w.signals.unblocked = make(chan struct{}, 1)
	w.signals.pending = make(map[unix.Signal]bool)
	w.signals.handlers = make(map[unix.Signal]SignalHandler)
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR2} {
		w.signals.handlers[sig] = w.defaultHandler(sig)
	}
}

// signalChannels has one channel of capacity one per signal: like the kernel,
// it coalesces what is not yet handled, and never drops one kind for another.
type signalChannels map[unix.Signal]chan os.Signal

var earlySignals = sync.OnceValue(func() signalChannels {
	channels := make(signalChannels)
	for _, sig := range []unix.Signal{
		unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE, PostmasterDeathSignal,
	} {
		channels[sig] = make(chan os.Signal, 1)
		signal.Notify(channels[sig], sig)
	}
	return channels
})

// serveUrgent owns the signals that no handler of a plugin may delay.
func (w *Worker) serveUrgent(c signalChannels) {
	for {
		select {
		case <-c[unix.SIGQUIT]:
			os.Exit(2) // no clean-up: shared memory may be corrupt
		case <-c[PostmasterDeathSignal]:
			if os.Getppid() != w.postmasterPid {
				w.notePostmasterDeath()
			}
		case <-c[unix.SIGUSR1]:
			w.SetLatch()
		case <-c[unix.SIGPIPE]:
		}
	}
}

// serveHandled owns the signals that have handlers, and runs those.
func (w *Worker) serveHandled(c signalChannels) {
	for {
		select {
		case <-w.signals.unblocked:
			w.handlePending()
		case <-c[unix.SIGUSR2]:
			w.handle(unix.SIGUSR2)
		case <-c[unix.SIGTERM]:
			w.arrived(unix.SIGTERM)
		case <-c[unix.SIGINT]:
			w.arrived(unix.SIGINT)
		case <-c[unix.SIGHUP]:
			w.arrived(unix.SIGHUP)
		}
	}
}

// handlePending handles what has arrived while signals were blocked.
func (w *Worker) handlePending() {
	pending := w.signals.takePending()
	for _, sig := range blockable {
		if pending[sig] {
			w.handle(sig)
		}
	}
}

// arrived handles a blockable signal now or remembers it.
func (w *Worker) arrived(sig unix.Signal) {
	w.signals.mu.Lock()
	blocked := w.signals.blocked && (sig != unix.SIGTERM || !w.signals.mortal)
	if blocked {
		w.signals.pending[sig] = true
	}
	w.signals.mu.Unlock()
	if !blocked {
		w.handle(sig)
	}
}

func (w *Worker) handle(sig unix.Signal) {
	w.signals.mu.Lock()
	handler := w.signals.handlers[sig]
	w.signals.mu.Unlock()
	handler(w)
}
