package postmaster_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// wantCounted compares what was counted, but for when the host began.
func (r *rig) wantCounted(want shmem.Statistics) {
	r.t.Helper()
	got := r.m.Statistics()
	if got.Began != epoch.UnixMicro() {
		r.t.Errorf("the host began at %d, want %d", got.Began, epoch.UnixMicro())
	}
	want.Began = got.Began
	if got != want {
		r.t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestEachStartAndEachEndIsCounted(t *testing.T) {
	r := newRig(t, named("a"), named("b", restart(never)))
	want := shmem.Statistics{Phase: shmem.HostRunning, Registered: 2, AuxiliaryStarts: 1}
	r.wantCounted(want)
	r.started("b")
	r.started("a")
	want.Starts = 2
	r.wantCounted(want)

	r.exit("b", code(1))
	want.ExitCodes[1], want.Unregistered = 1, 1
	r.wantCounted(want)

	r.exit("a", killedBy(unix.SIGKILL))
	want.ExitSignals[unix.SIGKILL], want.Crashes = 1, 1
	r.pass(5 * time.Second)
	r.started("a")
	want.Starts, want.Restarts = 3, 1
	r.wantCounted(want)

	r.exit("a", code(255))
	want.ExitCodes[255], want.Crashes = 1, 2
	r.pass(5 * time.Second)
	r.fail("a", errNoExec, false)
	want.StartFailures = 1
	r.wantCounted(want)

	r.register(named("c"))
	r.pass(time.Millisecond) // the failure has ended the pass
	want.Registered = 3
	r.started("c")
	want.Starts = 4
	r.exit("c", code(0))
	want.ExitCodes[0], want.Unregistered = 1, 2
	r.wantCounted(want)
}

func TestStatusesThatCannotBeAreCountedAllTheSame(t *testing.T) {
	r := newRig(t, named("a", restart(0)))
	for _, how := range []postmaster.ExitStatus{{Code: -1}, {Code: 1 << 20}, {Signaled: true, Signal: 200}, {Signaled: true, Signal: -1}} {
		r.pass(2 * time.Second)
		r.started("a")
		r.exit("a", postmaster.Exited{Ready: true, Status: how})
	}
	var ends uint64
	s := r.m.Statistics()
	for _, n := range s.ExitCodes {
		ends += n
	}
	for _, n := range s.ExitSignals {
		ends += n
	}
	if ends != 4 || s.Starts != 4 {
		t.Errorf("%d starts, %d ends", s.Starts, ends)
	}
}

func TestAuxiliaryProcessesAreCountedApart(t *testing.T) {
	r := newRig(t)
	r.exit(postmaster.ServerMonitor, code(1))
	r.pass(time.Second)
	r.fail(postmaster.ServerMonitor, errNoExec, true)
	r.pass(time.Second)
	r.started(postmaster.ServerMonitor)
	r.wantCounted(shmem.Statistics{Phase: shmem.HostRunning, AuxiliaryStarts: 2, AuxiliaryExits: 1, StartFailures: 1})
}

// What the host itself ends in a crash cycle is no crash of its own.
func TestCountsGoOnThroughACrashCycle(t *testing.T) {
	r := newRig(t, named("a"), named("b", restart(never)))
	r.step(postmaster.Configured{CrashScope: postmaster.CrashScopeCluster, RestartAfterCrash: true})
	r.started("b")
	r.started("a")
	r.exit("a", killedBy(unix.SIGSEGV))
	want := shmem.Statistics{Phase: shmem.HostRecovering, Registered: 2, AuxiliaryStarts: 1, Starts: 2, Crashes: 1, CrashCycles: 1}
	want.ExitSignals[unix.SIGSEGV] = 1
	r.wantCounted(want)
	r.exit("b", code(2))
	want.ExitCodes[2], want.Unregistered = 1, 1 // it never restarts
	r.wantCounted(want)
	r.exit(postmaster.ServerMonitor, code(2))
	want.Phase, want.AuxiliaryExits = shmem.HostRunning, 1
	r.wantCounted(want)
	r.started("a")
	r.started(postmaster.ServerMonitor)
	want.Starts, want.Restarts, want.AuxiliaryStarts = 3, 1, 2
	r.wantCounted(want)
}

func TestWhatAShutdownKillsHasNotCrashed(t *testing.T) {
	r := newRig(t, named("a"))
	r.started("a")
	r.step(postmaster.ShutdownRequested{Mode: postmaster.ImmediateShutdown})
	r.exit("a", code(2))
	want := shmem.Statistics{Phase: shmem.HostStopping, Registered: 1, AuxiliaryStarts: 1, Starts: 1}
	want.ExitCodes[2] = 1
	r.wantCounted(want)
}

func TestAHostThatStopsIsNotReady(t *testing.T) {
	for _, mode := range []postmaster.ShutdownMode{postmaster.SmartShutdown, postmaster.FastShutdown, postmaster.ImmediateShutdown} {
		r := newRig(t, named("a"))
		r.started("a")
		r.step(postmaster.ShutdownRequested{Mode: mode})
		if got := r.m.Statistics().Phase; got != shmem.HostStopping {
			t.Errorf("mode %v: it is %v", mode, got)
		}
	}
	r := newRig(t, named("a"))
	r.step(postmaster.Configured{CrashScope: postmaster.CrashScopeCluster, RestartAfterCrash: true})
	r.started("a")
	r.exit("a", code(2))
	r.step(postmaster.ShutdownRequested{Mode: postmaster.FastShutdown})
	if got := r.m.Statistics().Phase; got != shmem.HostStopping {
		t.Errorf("one that is stopped in a crash cycle is %v", got)
	}
	if got := bareRig(t, nil).m.Statistics().Phase; got != shmem.HostStarting {
		t.Errorf("before it was started it is %v", got)
	}
}

// A launch takes from when nothing but the host keeps a worker from being
// started: neither the server nor a restart interval is the host's fault, but
// that others are started first is.
func TestALaunchBeginsWhenTheWorkerCouldStart(t *testing.T) {
	r := newRig(t, named("second", restart(5)), named("first"), named("waits", database))
	began := r.now
	wantReady := func(name string, want time.Time) {
		t.Helper()
		if got := r.ready[name]; !got.Equal(want) {
			t.Errorf("%s: ready %v after the beginning, want %v", name, got.Sub(began), want.Sub(began))
		}
	}
	wantReady("first", began)
	r.now = r.now.Add(time.Second) // that takes long
	r.started("first")
	wantReady("second", began)
	r.started("second")

	r.now = r.now.Add(time.Hour)
	r.server(shmem.ServerReadWrite, serverA)
	wantReady("waits", r.now)
	r.started("waits")

	r.exit("second", code(1))
	r.pass(5 * time.Second)
	wantReady("second", r.now)
	r.started("second")

	r.register(named("dynamic", func(w *plugins.BackgroundWorker) { w.RestartTime = never }))
	wantReady("dynamic", r.now)
}
