package plugins

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// awaited is how a wait for a worker has ended.
type awaited struct {
	pid int
	err error
}

const startup, shutdown = "BgworkerStartup", "BgworkerShutdown"

// wait waits for the worker's start or end, in a goroutine that sleeps by the
// time wait returns.
func (h *FakeHost) wait(t *testing.T, ctx context.Context, event string, handle Handle) <-chan awaited {
	t.Helper()
	result := make(chan awaited, 1)
	go func() {
		var a awaited
		if event == startup {
			a.pid, a.err = h.Worker.WaitForBackgroundWorkerStartup(ctx, handle)
		} else {
			a.err = h.Worker.WaitForBackgroundWorkerShutdown(ctx, handle)
		}
		result <- a
	}()
	want := shmem.WaitEvent{Class: shmem.WaitClassIPC, Name: event}
	for deadline := time.Now().Add(limit); h.Worker.proc.WaitEvent() != want; {
		if len(result) > 0 || time.Now().After(deadline) {
			t.Fatalf("it does not wait: %v", h.Worker.proc.WaitEvent())
		}
		runtime.Gosched()
	}
	return result
}

// limit bounds every wait.
const limit = 60 * time.Second

func (h *FakeHost) wantEnd(t *testing.T, result <-chan awaited, pid int, err error) {
	t.Helper()
	select {
	case got := <-result:
		if got.pid != pid || !errors.Is(got.err, err) {
			t.Errorf("got %d, %v", got.pid, got.err)
		}
	case <-time.After(limit):
		t.Fatal("the wait does not end")
	}
	if ev := h.Worker.proc.WaitEvent(); ev.Class != shmem.NotWaiting {
		t.Errorf("it is still said to wait for %v", ev)
	}
}

func TestAWaitEndsWithTheStartAndWithTheEnd(t *testing.T) {
	t.Parallel()
	h := fakeHost(t, 1)
	handle := h.register(t)
	result := h.wait(t, t.Context(), startup, handle)
	h.Slots.SetPid(0, 4711)
	h.Worker.SetLatch()
	h.wantEnd(t, result, 4711, nil)
	if pid, err := h.Worker.WaitForBackgroundWorkerStartup(t.Context(), handle); pid != 4711 || err != nil { // at once
		t.Errorf("got %d, %v", pid, err)
	}

	result = h.wait(t, t.Context(), shutdown, handle)
	h.Slots.SetPid(0, shmem.DeadPid)
	h.Worker.SetLatch()
	h.wantEnd(t, result, 0, nil)
	if err := h.Worker.WaitForBackgroundWorkerShutdown(t.Context(), handle); err != nil {
		t.Errorf("got %v", err)
	}
	_, err := h.Worker.WaitForBackgroundWorkerStartup(t.Context(), handle)
	if !errors.Is(err, ErrStopped) || elog.CodeOf(err) != elog.InsufficientResources {
		t.Errorf("got %v", err)
	}
}

func TestAWaitForAWorkerThatNeverStartsIsAnswered(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(h *FakeHost){
		"refused": func(h *FakeHost) { h.Slots.Release(0, false) },
		"stopped": func(h *FakeHost) { h.Slots.SetPid(0, shmem.DeadPid) },
		"forgotten": func(h *FakeHost) {
			h.Slots.Release(0, false)
			_, _, _ = h.Worker.slots().Claim(shmem.Descriptor{}, false, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := fakeHost(t, 1)
			result := h.wait(t, t.Context(), startup, h.register(t))
			end(h)
			h.Worker.SetLatch()
			h.wantEnd(t, result, 0, ErrStopped)
		})
	}
}

// Whoever has terminated a worker and waited for its end can have its slot.
func TestAWaitForATerminatedWorkerEndsWithItsSlotFree(t *testing.T) {
	t.Parallel()
	h := fakeHost(t, 1)
	handle := h.register(t)
	h.Slots.SetPid(0, shmem.DeadPid) // it waits to be restarted
	if err := h.Worker.WaitForBackgroundWorkerShutdown(t.Context(), handle); err != nil {
		t.Errorf("got %v", err)
	}
	if err := h.Worker.TerminateBackgroundWorker(handle); err != nil {
		t.Fatal(err)
	}
	result := h.wait(t, t.Context(), shutdown, handle)
	h.Slots.Release(0, false)
	h.Worker.SetLatch()
	h.wantEnd(t, result, 0, nil)
	heir := h.register(t)
	if err := h.Worker.TerminateBackgroundWorker(heir); err != nil {
		t.Fatal(err)
	}
	if err := h.Worker.WaitForBackgroundWorkerShutdown(t.Context(), handle); err != nil { // the heir's flag is not his
		t.Errorf("got %v", err)
	}
}

// NotifyPid is the caller's business, but a wait that nobody notifies must end,
// too.
func TestAWaitThatIsNotNotifiedEndsAllTheSame(t *testing.T) {
	t.Parallel()
	h := fakeHost(t, 1)
	result := h.wait(t, t.Context(), startup, h.register(t))
	h.Slots.SetPid(0, 4711)
	h.wantEnd(t, result, 4711, nil)
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	cause := errors.New("enough")
	for _, event := range []string{startup, shutdown} {
		h := fakeHost(t, 1)
		handle := h.register(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		result := h.wait(t, ctx, event, handle)
		cancel(cause)
		h.wantEnd(t, result, 0, cause)

		// Before anything else, as CHECK_FOR_INTERRUPTS does.
		h.Slots.SetPid(0, 4711)
		if pid, err := h.Worker.WaitForBackgroundWorkerStartup(ctx, handle); pid != 0 || !errors.Is(err, cause) {
			t.Errorf("got %d, %v", pid, err)
		}

		result = h.wait(t, h.Worker.ctx, shutdown, handle)
		h.Worker.cancel(h.Worker.adminShutdown()) // what Die does first
		select {
		case got := <-result:
			if elog.CodeOf(got.err) != elog.AdminShutdown || errors.Is(got.err, ErrPostmasterDied) {
				t.Errorf("got %v", got.err)
			}
		case <-time.After(limit):
			t.Fatal("the wait does not end")
		}
	}
}

func TestAWaitEndsWithTheHost(t *testing.T) {
	t.Parallel()
	for _, event := range []string{startup, shutdown} {
		for name, context := range map[string]func(h *FakeHost) context.Context{
			"own":   func(h *FakeHost) context.Context { return h.Worker.ctx },
			"other": func(*FakeHost) context.Context { return context.Background() },
		} {
			t.Run(event+" "+name, func(t *testing.T) {
				t.Parallel()
				h := fakeHost(t, 1)
				handle := h.register(t)
				result := h.wait(t, context(h), event, handle)
				h.KillHost()
				h.wantEnd(t, result, 0, ErrPostmasterDied)
				if _, err := h.Worker.WaitForBackgroundWorkerStartup(context(h), handle); !errors.Is(err, ErrPostmasterDied) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// What sets the latch during a wait may mean something to the caller, who is
// not asked. A latch that nobody has set stays as it is.
func TestAWaitSwallowsNoLatch(t *testing.T) {
	t.Parallel()
	for _, set := range []bool{true, false} {
		h := fakeHost(t, 1)
		handle := h.register(t)
		if set {
			h.Worker.SetLatch()
		}
		result := h.wait(t, t.Context(), startup, handle)
		h.Slots.SetPid(0, 4711)
		h.wantEnd(t, result, 4711, nil)
		want := map[bool]WakeEvents{true: LatchSet, false: Timeout}[set]
		if got, err := h.Worker.WaitLatch(t.Context(), LatchSet|Timeout|PostmasterDeath, 0, WaitEvent{}); err != nil || got != want {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

func TestASecondGoroutineCannotWait(t *testing.T) {
	t.Parallel()
	h := fakeHost(t, 2)
	first, second := h.register(t), h.register(t)
	result := h.wait(t, t.Context(), startup, first)
	if _, err := h.Worker.WaitForBackgroundWorkerStartup(t.Context(), second); elog.CodeOf(err) != elog.ObjectNotInPrerequisite {
		t.Errorf("got %v", err)
	}
	h.Slots.Release(0, false)
	h.Worker.SetLatch()
	h.wantEnd(t, result, 0, ErrStopped)
}

// The lock of the slots is per process, and goroutines of one wait for each
// other.
func TestGoroutinesRegisterAtTheSameTime(t *testing.T) {
	t.Parallel()
	const slots = 64
	h := fakeHost(t, slots)
	handles := make(chan Handle, slots)
	for range slots {
		go func() {
			handle, err := h.Worker.RegisterDynamicBackgroundWorker(dynamicWorker("w"))
			if err != nil {
				t.Error(err)
			}
			handles <- handle
		}()
	}
	distinct := make(map[Handle]bool)
	for range slots {
		distinct[<-handles] = true
	}
	if len(distinct) != slots {
		t.Errorf("%d registrations have %d handles", slots, len(distinct))
	}
	if holder := h.Segment.SlotLockHolder(); holder != 0 {
		t.Errorf("process %d of %d holds the lock", holder, os.Getpid())
	}
}
