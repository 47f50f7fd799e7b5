package pluginstest

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/standalone"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Worker is a worker that Start has started. Its methods are safe for concurrent
// use; those that take a testing.TB fail it, and are for the test's own goroutine.
type Worker struct {
	process standalone.Process
	conf    *configuration
	watch   *standalone.Watch
	log     *logBook
}

// Exit is how a worker has ended: what a host would see of it, and more.
type Exit struct {
	// Code is the exit code: 0 for a main that returns nil, and 1 otherwise.
	Code int
	// SQLState is that of the last report: 57P01 after SIGTERM, that of main's error,
	// or 00000.
	SQLState elog.SQLState
	// Err is what main has returned, or nil. After a panic it is an error that says so.
	Err error
	// Panic is what main has panicked with, or nil.
	Panic any
}

// Signal sends the worker SIGTERM, SIGINT, SIGHUP, SIGUSR1 or SIGUSR2, and returns
// when its handler has run, or the signal is held back because signals are blocked.
// What the worker makes of it then is another matter: see AwaitWait and Wait. A
// worker that has ended gets nothing.
func (w *Worker) Signal(t testing.TB, sig unix.Signal) {
	t.Helper()
	switch sig {
	case unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2:
		w.process.Signal(sig)
	default:
		t.Fatalf("a worker in a test cannot be sent %v", sig)
	}
}

// SetLatch sets the worker's latch, as a notification of another worker does.
func (w *Worker) SetLatch() { w.process.SetLatch() }

// Set writes a setting to what stands for the configuration file, and sends SIGHUP,
// as ALTER SYSTEM SET and a reload do. The worker has the new value when it has
// called ProcessConfigFile: after AwaitWait, if it does that in its loop. It fails
// the test if there is no such setting; a value that is refused goes to the log.
func (w *Worker) Set(t testing.TB, name, value string) {
	t.Helper()
	w.demandSetting(t, name)
	w.conf.set(name, value)
	w.process.Signal(unix.SIGHUP)
}

// AwaitWait returns when the worker waits: in Worker.WaitLatch or
// connect.Conn.WaitForNotification. A wait that a signal, the latch or Advance has
// ended already is none, so that after Signal, SetLatch and Set it is the next one.
// It fails the test if the worker ends instead.
func (w *Worker) AwaitWait(t testing.TB) {
	t.Helper()
	w.awaitWait(t, 0)
}

// Advance lets the wait that the worker is in, or comes to, return as if its
// time-out had passed, and returns when the worker waits again or has ended. It
// fails the test if the wait has no time-out.
func (w *Worker) Advance(t testing.TB) {
	t.Helper()
	state := w.awaitWait(t, 0)
	if !state.Timed {
		t.Fatalf("the worker waits without a time-out (%s): only its latch or a signal ends that", eventName(state.Event))
	}
	w.watch.Expire() // if something else has ended the wait by now, that is as good
	w.awaitWaitOrEnd(t, state.Slept+1)
}

// AwaitNextWait calls do, which makes the worker leave the wait that it is in, or
// comes to, from outside: a NOTIFY in the database, say. It returns when the worker
// waits again or has ended.
func (w *Worker) AwaitNextWait(t testing.TB, do func()) {
	t.Helper()
	state := w.awaitWait(t, 0)
	do()
	w.awaitWaitOrEnd(t, state.Slept+1)
}

// WaitEvent returns what the worker waits for, as "pgexthost ps" shows it, and the
// zero value if it does not wait.
func (w *Worker) WaitEvent() plugins.WaitEvent { return w.watch.State().Event }

// Wait waits for the end of the worker and returns how it has ended. It does not
// end it: that is for Signal, or for main.
func (w *Worker) Wait(t testing.TB) Exit {
	t.Helper()
	select {
	case <-w.process.Done():
	case <-time.After(time.Until(deadline(t))):
		t.Fatalf("the worker has not ended; %s", w.whatItDoes())
	}
	return Exit(w.process.Exit())
}

// Log returns what the worker has logged so far, from its library's Init on. What
// that is log_min_messages decides, which Options.Settings can have.
func (w *Worker) Log() []Record { return w.log.all() }

// AwaitLog returns the first record whose text, as String returns it, contains a
// text: one that has been logged already, or comes. It fails the test if the worker
// ends without one.
func (w *Worker) AwaitLog(t testing.TB, text string) Record {
	t.Helper()
	found, ended := w.log.await(text, 1, w.process.Done(), deadline(t))
	switch {
	case len(found) > 0:
	case ended:
		t.Fatalf("the worker has ended without logging %q; its log:\n%s", text, w.log.text())
	default:
		t.Fatalf("the worker has not logged %q; %s", text, w.whatItDoes())
	}
	return found[0]
}

// awaitWait waits until the worker waits, for at least the given time.
func (w *Worker) awaitWait(t testing.TB, slept int) standalone.State {
	t.Helper()
	state, ended := w.awaitWaitOrEnd(t, slept)
	if ended {
		exit := w.process.Exit()
		t.Fatalf("the worker has ended, with exit code %d (%v); its log:\n%s", exit.Code, exit.Err, w.log.text())
	}
	return state
}

func (w *Worker) awaitWaitOrEnd(t testing.TB, slept int) (state standalone.State, ended bool) {
	t.Helper()
	limit := time.After(time.Until(deadline(t)))
	for {
		if state = w.watch.State(); state.Waiting && state.Slept >= slept {
			return state, false
		}
		select {
		case <-state.Changed:
		case <-w.process.Done():
			return state, true
		case <-limit:
			t.Fatalf("the worker does not come to a wait; %s", w.whatItDoes())
		}
	}
}

// stop ends a worker at the end of its test.
func (w *Worker) stop(t testing.TB) {
	defer w.log.close()
	go w.process.Signal(unix.SIGTERM) // a handler of the library's may be stuck
	select {
	case <-w.process.Done():
	case <-time.After(time.Until(deadline(t))):
		t.Errorf("the worker does not end on SIGTERM; %s", w.whatItDoes())
	}
}

// whatItDoes tells of a worker that does not do what it should.
func (w *Worker) whatItDoes() string {
	if state := w.watch.State(); state.Waiting {
		text := "it waits: " + eventName(state.Event)
		if state.Timed {
			text += " (its time-out passes by Advance only)"
		}
		return text
	}
	stacks := make([]byte, 256<<10)
	return fmt.Sprintf("goroutines:\n%s", stacks[:runtime.Stack(stacks, true)])
}

func eventName(e plugins.WaitEvent) string { return e.Class.String() + "/" + e.Name }
