package plugins

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/standalone"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// WakeEvents is a set of events that WaitLatch waits for or returns. Mirrors
// the WL_ bits.
type WakeEvents uint32

// The events.
const (
	// LatchSet waits for the process's latch. Mirrors WL_LATCH_SET.
	LatchSet WakeEvents = 1 << iota
	// Timeout waits until the time given has passed. Mirrors WL_TIMEOUT.
	Timeout
	// PostmasterDeath waits for the host's death. Mirrors WL_POSTMASTER_DEATH.
	PostmasterDeath
	// ExitOnPostmasterDeath ends the process with exit code 1 when the host
	// dies, without returning. Mirrors WL_EXIT_ON_PM_DEATH.
	ExitOnPostmasterDeath
)

// WaitEvent names what a worker waits for, as pg_stat_activity shows it.
type WaitEvent = shmem.WaitEvent

// ExtensionWait returns a wait event of class Extension, for the waits of
// plugins. Of a name, 63 bytes are shown. Mirrors WaitEventExtensionNew.
func ExtensionWait(name string) WaitEvent {
	return WaitEvent{Class: shmem.WaitClassExtension, Name: name}
}

// WaitLatch sleeps until one of the events happens and returns those that did.
// The timeout counts only if events contains Timeout. A latch that is already
// set makes it return at once; it stays set until ResetLatch.
//
// When ctx ends, WaitLatch returns its cause: for a worker's own context that
// is the reason it shall end, so that a main function can return it as it is.
//
// It is for one goroutine at a time; a second caller gets an error. A wait that
// asks for neither PostmasterDeath nor ExitOnPostmasterDeath is refused with
// SQLSTATE 22023, because it would outlive the host. Mirrors WaitLatch(MyLatch, …).
func (w *Worker) WaitLatch(ctx context.Context, events WakeEvents, timeout time.Duration, ev WaitEvent) (WakeEvents, error) {
	if events&(PostmasterDeath|ExitOnPostmasterDeath) == 0 {
		return 0, elog.New(elog.Error, elog.InvalidParameterValue, "a wait must ask for the death of the postmaster").
			WithHint("Add plugins.PostmasterDeath or plugins.ExitOnPostmasterDeath to the events of WaitLatch.")
	}
	if !w.waiting.TryLock() {
		return 0, elog.New(elog.Error, elog.ObjectNotInPrerequisite, "another goroutine of this worker is already waiting on its latch")
	}
	defer w.waiting.Unlock()

	w.startWait(ev)
	defer w.proc.EndWait()
	if ctx != w.ctx { // the runtime already kicks the latch when its own context ends
		stop := context.AfterFunc(ctx, w.latch.Kick)
		defer stop()
	}
	wait := w.watchWait(ctx, events, timeout, ev)
	defer wait.End()
	deadline := time.Now().Add(timeout)
	for {
		if happened, err := w.happened(ctx, events); happened != 0 || err != nil {
			return happened, err
		}
		if wait.Expired() {
			return Timeout, nil
		}
		remaining := time.Duration(-1)
		if events&Timeout != 0 && wait == nil {
			remaining = max(time.Until(deadline), 0)
		}
		wait.Sleeps()
		if w.sleep(ctx, events, remaining, wait.Woken()) == shmem.WokenByTimeout && events&Timeout != 0 {
			return Timeout, nil
		}
	}
}

// watchWait tells the test that this worker runs in, if it does, of a wait, and
// leaves it to the test to end it: its time-out does not pass by itself. A wait
// that has none to sleep for is no wait.
func (w *Worker) watchWait(ctx context.Context, events WakeEvents, timeout time.Duration, ev WaitEvent) *standalone.Wait {
	if w.watch == nil || events&Timeout != 0 && timeout <= 0 {
		return nil
	}
	over := func() bool {
		happened, err := w.happened(ctx, events)
		return happened != 0 || err != nil
	}
	return w.watch.Begin(waitEventShown(ev), events&Timeout != 0, over, w.latch.Kick)
}

// happened looks at everything but the time-out, most urgent first.
func (w *Worker) happened(ctx context.Context, events WakeEvents) (WakeEvents, error) {
	if !w.PostmasterIsAlive() {
		if events&ExitOnPostmasterDeath != 0 {
			w.exit(1)
		}
		return PostmasterDeath, nil
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if events&LatchSet != 0 && w.latch.IsSet() {
		return LatchSet, nil
	}
	return 0, nil
}

// sleep blocks until there may be something to look at. Waiting for the latch
// is waiting on its futex, directly: a goroutine that pumped it into a channel
// would cost milliseconds when the cores are busy.
func (w *Worker) sleep(ctx context.Context, events WakeEvents, timeout time.Duration, woken <-chan struct{}) shmem.WakeReason {
	if events&LatchSet != 0 {
		return w.latch.Wait(timeout)
	}
	var timer <-chan time.Time // nil: never
	if timeout >= 0 {
		timer = time.After(timeout)
	}
	select {
	case <-timer:
		return shmem.WokenByTimeout
	case <-ctx.Done():
	case <-w.postmasterDead:
	case <-woken:
	}
	return shmem.WokenByKick
}

func (w *Worker) startWait(ev WaitEvent) {
	w.activityLock.Lock()
	defer w.activityLock.Unlock()
	w.proc.StartWait(waitEventShown(ev))
}

// waitEventShown fills in what the caller of WaitLatch has left out.
func waitEventShown(ev WaitEvent) WaitEvent {
	if ev.Class == shmem.NotWaiting {
		ev.Class = shmem.WaitClassExtension
	}
	if ev.Name == "" {
		ev.Name = "Extension"
	}
	return ev
}

// notePostmasterDeath ends every wait and the context, and makes sure that the
// process is gone soon, whatever its main function does.
func (w *Worker) notePostmasterDeath() {
	w.declareDead.Do(func() {
		close(w.postmasterDead)
		w.cancel(ErrPostmasterDied)
		w.latch.Kick()
		time.AfterFunc(postmasterDeathGrace, w.vanish)
	})
}

// vanish ends the process after the host's death, and whatever it has started
// in its process group: nobody is left who could.
func (w *Worker) vanish() {
	if leadsGroup() {
		_ = unix.Kill(-os.Getpid(), unix.SIGKILL)
	}
	os.Exit(1)
}

// postmasterDeathGrace is how long a main function may go on after the host
// has died.
const postmasterDeathGrace = 500 * time.Millisecond
