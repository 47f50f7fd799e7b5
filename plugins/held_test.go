package plugins

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// hold registers a held worker, and makes this process the one of that worker.
func (h *FakeHost) hold(t *testing.T, request int64) Handle {
	t.Helper()
	handle, err := h.Worker.RegisterHeldBackgroundWorker(dynamicWorker("held"), request)
	if err != nil {
		t.Fatal(err)
	}
	h.Worker.signals.blocked = true
	h.Worker.signals.pending = map[unix.Signal]bool{}
	h.Worker.signals.handlers = map[unix.Signal]SignalHandler{unix.SIGTERM: dieSoftly, unix.SIGHUP: Ignore}
	h.Slots.SetPid(int(handle.slot), os.Getpid())
	h.Segment.Proc(0).SetPid(os.Getpid())
	return handle
}

// dieSoftly is Die without the end of the process that comes if main is deaf.
func dieSoftly(w *Worker) {
	w.dying.Store(true)
	w.cancel(w.adminShutdown())
}

// atGate lets the process come to its gate, and returns when it sleeps there.
func (h *FakeHost) atGate(t *testing.T, handle Handle) <-chan error {
	t.Helper()
	passed := h.toGate(handle)
	want := shmem.WaitEvent{Class: shmem.WaitClassIPC, Name: "HeldWorkerRelease"}
	for deadline := time.Now().Add(limit); h.Worker.proc.WaitEvent() != want; runtime.Gosched() {
		if len(passed) > 0 || time.Now().After(deadline) {
			t.Fatalf("it does not wait: %v", h.Worker.proc.WaitEvent())
		}
	}
	return passed
}

func (h *FakeHost) toGate(handle Handle) <-chan error {
	passed := make(chan error, 1)
	g := gate{request: 1, slot: int(handle.slot), generation: handle.generation}
	go func() { passed <- g.pass(h.Worker) }()
	return passed
}

func wantPass(t *testing.T, passed <-chan error, want error) {
	t.Helper()
	select {
	case err := <-passed:
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	case <-time.After(limit):
		t.Fatal("it waits at the gate for ever")
	}
}

func (h *FakeHost) wantHeld(t *testing.T, request int64, held bool) {
	t.Helper()
	if all := h.Worker.BackgroundWorkers(); len(all) != 1 || all[0].Request != request || all[0].Entry.Request() != request || all[0].Held != held {
		t.Errorf("got %+v", all)
	}
}

func (h *FakeHost) release(t *testing.T, handle Handle) {
	t.Helper()
	if err := h.Worker.ReleaseBackgroundWorker(handle); err != nil {
		t.Fatal(err)
	}
}

func TestAHeldWorkerWaitsUntilItIsReleased(t *testing.T) {
	t.Parallel()
	h := fakeHost(t, 1)
	handle := h.hold(t, 7)
	if h.Worker.latch.IsSet() {
		t.Fatal("the latch is set already")
	}
	h.wantHeld(t, 7, true)
	passed := h.atGate(t, handle)
	h.release(t, handle)
	if !h.Worker.latch.IsSet() && len(passed) == 0 {
		t.Error("the worker was not woken")
	}
	wantPass(t, passed, nil)
	h.wantHeld(t, 7, false)
	if !h.Worker.latch.IsSet() {
		t.Error("main is not told that the latch was set") // by whomever
	}
	h.release(t, handle) // once more: nothing
	wantPass(t, h.toGate(handle), nil)
	h.wantHeld(t, 7, false)
}

func TestAWorkerThatIsReleasedBeforeItHasAProcessDoesNotWait(t *testing.T) {
	t.Parallel()
	h := fakeHost(t, 1)
	handle := h.hold(t, 7)
	h.Slots.SetPid(0, shmem.InvalidPid)
	h.release(t, handle)
	wantPass(t, h.toGate(handle), nil)
}

func TestTheDeathOfWhoHasOpenedTheGateKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	h := fakeHost(t, 1)
	handle := h.hold(t, 7)
	passed := h.atGate(t, handle)
	if opened, err := h.Worker.slots().OpenGate(0, handle.generation); !opened || err != nil { // and there it dies
		t.Errorf("got %v, %v", opened, err)
	}
	wantPass(t, passed, nil)
}

func TestAReleaseIsForOneRegistrationOnly(t *testing.T) {
	t.Parallel()
	h := fakeHost(t, 1)
	first := h.hold(t, 7)
	h.release(t, first)
	h.Slots.Release(0, false)
	second := h.hold(t, 8)
	h.wantHeld(t, 8, true) // what is left in the slot opens nothing
	other := second
	other.incarnation++
	for _, stale := range []Handle{first, other, {}} {
		h.release(t, stale)
		h.wantHeld(t, 8, true)
	}
	h.release(t, second)
	h.wantHeld(t, 8, false)
	if err := h.Worker.ReleaseBackgroundWorker(Handle{incarnation: first.incarnation, slot: 1}); elog.CodeOf(err) != elog.InvalidParameterValue {
		t.Errorf("got %v", err)
	}
}

func TestAWorkerThatIsTerminatedAtItsGateEnds(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(*FakeHost, Handle) <-chan error{
		"while it waits": func(h *FakeHost, handle Handle) <-chan error {
			passed := h.atGate(t, handle)
			h.Worker.arrived(unix.SIGHUP)
			h.Worker.arrived(unix.SIGTERM)
			return passed
		},
		"before it waits": func(h *FakeHost, handle Handle) <-chan error {
			h.Worker.arrived(unix.SIGHUP)
			h.Worker.arrived(unix.SIGTERM)
			return h.toGate(handle)
		},
		"and then released": func(h *FakeHost, handle Handle) <-chan error {
			passed := h.atGate(t, handle)
			if err := h.Worker.TerminateBackgroundWorker(handle); err != nil {
				t.Error(err)
			}
			h.release(t, handle)
			h.Worker.arrived(unix.SIGHUP)
			h.Worker.arrived(unix.SIGTERM)
			return passed
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := fakeHost(t, 1)
			handle := h.hold(t, 7)
			passed := send(h, handle)
			select {
			case err := <-passed:
				if elog.CodeOf(err) != elog.AdminShutdown {
					t.Errorf("got %v", err)
				}
			case <-time.After(limit):
				t.Fatal("it waits at the gate for ever")
			}
			if !h.Worker.signals.pending[unix.SIGHUP] {
				t.Error("SIGHUP was not held back")
			}
		})
	}
}

// Main decides what SIGTERM does to it: at the gate it was another matter.
func TestASIGTERMBehindTheGateIsForMain(t *testing.T) {
	t.Parallel()
	h := fakeHost(t, 1)
	handle := h.hold(t, 7)
	h.release(t, handle)
	wantPass(t, h.toGate(handle), nil)
	h.Worker.arrived(unix.SIGTERM)
	if h.Worker.dying.Load() || !h.Worker.signals.pending[unix.SIGTERM] {
		t.Error("it was not held back")
	}
}

func TestAHeldWorkerEndsWithItsHost(t *testing.T) {
	t.Parallel()
	h := fakeHost(t, 1)
	passed := h.atGate(t, h.hold(t, 7))
	h.KillHost()
	wantPass(t, passed, ErrPostmasterDied)
}

func TestHeldRegistrationsAreRefusedIfTheyMakeNoSense(t *testing.T) {
	t.Parallel()
	h := fakeHost(t, 1, "compat_version=13")
	sane, detached, insane := dynamicWorker("w"), dynamicWorker("w"), dynamicWorker("w")
	detached.Flags, insane.RestartTime = 0, -7
	for _, tt := range []struct {
		worker  BackgroundWorker
		request int64
		want    string
	}{
		{sane, 0, "invalid request number"},
		{sane, -1, "invalid request number"},
		{detached, 1, "must attach to shared memory in order to be held"},
		{insane, 1, "invalid restart interval"},
	} {
		_, err := h.Worker.RegisterHeldBackgroundWorker(tt.worker, tt.request)
		if elog.CodeOf(err) != elog.InvalidParameterValue || !strings.Contains(err.Error(), `background worker "w": `+tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	if all := h.Worker.BackgroundWorkers(); len(all) != 0 {
		t.Errorf("got %+v", all)
	}
}

// A worker may register a copy of its own entry.
func TestACopyOfAHeldRegistrationIsNotHeld(t *testing.T) {
	t.Parallel()
	h := fakeHost(t, 2)
	h.hold(t, 7)
	if _, err := h.Worker.RegisterDynamicBackgroundWorker(h.Worker.BackgroundWorkers()[0].Entry); err != nil {
		t.Fatal(err)
	}
	if all := h.Worker.BackgroundWorkers(); len(all) != 2 || all[1].Request != 0 || all[1].Held {
		t.Errorf("got %+v", all)
	}
}

func TestWhatIsRememberedOfAWorkerHasItsRequest(t *testing.T) {
	t.Parallel()
	h := fakeHost(t, 1)
	h.hold(t, 7)
	h.Segment.Bury(shmem.Buried{At: time.Now(), Worker: h.Slots.Descriptor(0)})
	if all := h.Worker.UnregisteredWorkers(); len(all) != 1 || all[0].Request != 7 {
		t.Errorf("got %+v", all)
	}
}
