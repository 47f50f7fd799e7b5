package plugins

import (
	"context"
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// ErrStopped says that the worker whose start was waited for does not run: it
// could not be started, has ended already, or was terminated before it started.
// The words and the SQLSTATE, 53000, are those of PostgreSQL's callers of
// WaitForBackgroundWorkerStartup.
var ErrStopped = elog.New(elog.Error, elog.InsufficientResources, "could not start background process").
	WithHint("More details may be available in the server log.")

// waitAgain is how long a wait for a worker relies on being notified: the
// worker may have been registered without NotifyPid, or for another process.
const waitAgain = time.Second

// WaitForBackgroundWorkerStartup waits until the worker behind a handle has been
// started and returns its pid. That its process exists does not mean that it
// has come to its main function yet. It returns [ErrStopped] if the worker does
// not run and need not be waited for, [ErrPostmasterDied] if the host dies, and
// the cause of ctx's end, which for a main function's context is the reason to
// end; a worker whose start time does not come is waited for until then. Mirrors
// the C function of that name.
//
// The worker should have been registered with NotifyPid: w.Pid(). A process that
// is not notified finds out within a second.
//
// The wait uses the process's latch, as WaitLatch does, and like that is for one
// goroutine at a time. It leaves the latch set if anybody has set it meanwhile,
// the notifications included: what the latch stands for is not lost, and a loop
// around WaitLatch goes round once more at most. (In C the latch is reset, and
// every caller has to remember to look at everything again.)
func (w *Worker) WaitForBackgroundWorkerStartup(ctx context.Context, h Handle) (pid int, err error) {
	status := HandleStopped
	err = w.waitForWorker(ctx, WaitEvent{Class: shmem.WaitClassIPC, Name: "BgworkerStartup"}, func() (done bool, err error) {
		status, pid, err = w.GetBackgroundWorkerPid(h)
		return status != HandleNotYetStarted, err
	})
	if err == nil && status == HandleStopped {
		err = ErrStopped
	}
	return pid, err
}

// WaitForBackgroundWorkerShutdown waits until the worker behind a handle does
// not run and, if it was terminated, until it is unregistered: then its slot is
// free for whoever comes next. One that was not terminated may only wait to be
// restarted. It returns [ErrPostmasterDied] if the host dies, and the cause of
// ctx's end. For the rest, see WaitForBackgroundWorkerStartup.
//
// Mirrors the C function of that name, which does not wait for the slot.
func (w *Worker) WaitForBackgroundWorkerShutdown(ctx context.Context, h Handle) error {
	return w.waitForWorker(ctx, WaitEvent{Class: shmem.WaitClassIPC, Name: "BgworkerShutdown"}, func() (done bool, err error) {
		if status, _, err := w.GetBackgroundWorkerPid(h); status != HandleStopped || err != nil {
			return false, err
		}
		if h.incarnation != w.segment.Incarnation() {
			return true, nil
		}
		terminating, err := w.slots().Terminating(int(h.slot), h.generation)
		return !terminating, err
	})
}

// waitForWorker looks at a worker whenever the latch is set, and once a second,
// until look says that the wait is over.
func (w *Worker) waitForWorker(ctx context.Context, ev WaitEvent, look func() (done bool, err error)) error {
	wasSet := false
	defer func() {
		if wasSet {
			w.SetLatch()
		}
	}()
	for {
		if err := w.interruption(ctx); err != nil {
			return err
		}
		if done, err := look(); done || err != nil {
			return err
		}
		events, err := w.WaitLatch(ctx, LatchSet|Timeout|PostmasterDeath, waitAgain, ev)
		if err != nil {
			return err
		}
		if events&LatchSet != 0 {
			w.ResetLatch()
			wasSet = true
		}
	}
}

// interruption returns why the caller should not go on waiting, or nil. Mirrors
// CHECK_FOR_INTERRUPTS.
func (w *Worker) interruption(ctx context.Context) error {
	if !w.PostmasterIsAlive() {
		return ErrPostmasterDied
	}
	return context.Cause(ctx)
}
