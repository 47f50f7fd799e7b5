package postmaster_test

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// SPEC 9: worker_stop_timeout ends what is deaf to SIGTERM, and names it.
func TestSpec9WorkerStopTimeout(t *testing.T) {
	for _, mode := range []postmaster.Event{smart, fast} {
		r := bareRig(t, workers(named("late"), named("b"), named("a")), "aux")
		r.step(postmaster.Configured{WorkerStopTimeout: 3 * time.Second})
		r.step(postmaster.Started{})
		r.started("aux")
		r.started("a")
		r.started("b")
		r.pass(time.Hour) // counts from the stop only
		r.step(mode)
		r.exit("b", code(1))
		r.trace = nil
		r.wantWake(3 * time.Second)
		r.pass(3*time.Second - 1)
		r.want()
		r.pass(1)
		r.want(`LOG: issuing SIGKILL to background worker "a" (PID 102) | It has not stopped within "worker_stop_timeout" (3s).`, "SIGKILL to 102")
		r.wantWake(7 * time.Second) // once is enough
		r.started("late")
		r.want("slot 2: pid 104", `LOG: issuing SIGKILL to background worker "late" (PID 104) | It has not stopped within "worker_stop_timeout" (3s).`, "SIGKILL to 104")
		r.exit("a", killedBy(unix.SIGKILL))
		r.exit("late", killedBy(unix.SIGKILL))
		r.want(`LOG: background worker "a type" (PID 102) was terminated by signal 9: Killed`, "slot 0: pid 0",
			`LOG: background worker "late type" (PID 104) was terminated by signal 9: Killed`, "slot 2: pid 0", "LOG: shutting down", "SIGTERM to 101")
		r.exit("aux", code(0))
		r.want(`DEBUG1: aux process (PID 101) exited with exit code 0`, bye)
	}
}

// SPEC 9: 0 means PostgreSQL's behaviour, and a reload counts from its moment.
func TestSpec9WorkerStopTimeoutChangesWhileStopping(t *testing.T) {
	r := newRig(t, named("w"))
	r.started("w")
	r.step(smart)
	r.trace = nil
	r.pass(5 * time.Second)
	r.want()
	r.step(postmaster.ReloadRequested{})
	r.trace = nil
	r.step(postmaster.Configured{WorkerStopTimeout: 7 * time.Second})
	r.wantWake(2 * time.Second)
	r.pass(2 * time.Second)
	r.want(`LOG: issuing SIGKILL to background worker "w" (PID 102) | It has not stopped within "worker_stop_timeout" (7s).`, "SIGKILL to 102")
}

// SPEC 9: the five seconds of an immediate shutdown are no setting.
func TestSpec9WorkerStopTimeoutIsNotForImmediateShutdowns(t *testing.T) {
	r := bareRig(t, workers(named("w")))
	r.step(postmaster.Configured{WorkerStopTimeout: time.Second})
	r.step(postmaster.Started{})
	r.started("w")
	r.step(immediate)
	r.trace = nil
	r.wantWake(5 * time.Second)
	r.pass(2 * time.Second)
	r.want()
}

// SPEC 9: every 10 s a stop says whom it waits for, also when it waits for
// auxiliary processes.
func TestSpec9AStopSaysWhomItWaitsFor(t *testing.T) {
	r := newRig(t, named("c"), named("b"), named("a"))
	for _, name := range []string{"a", "b", "c"} {
		r.started(name)
	}
	r.step(fast)
	r.exit("c", code(1))
	r.trace = nil
	r.pass(10*time.Second - 1)
	r.want()
	r.wantWake(1)
	r.pass(1)
	r.want(`LOG: still waiting for 2 background workers to stop | Still running: background worker "a" (PID 102), background worker "b" (PID 103).`)
	r.wantWake(10 * time.Second)
	r.pass(10 * time.Second)
	r.want(`LOG: still waiting for 2 background workers to stop | Still running: background worker "a" (PID 102), background worker "b" (PID 103).`)
	r.exit("a", code(1))
	r.exit("b", code(1))
	r.want("slot 0: pid 0", "LOG: background worker \"a type\" (PID 102) exited with exit code 1", "slot 1: pid 0", "LOG: background worker \"b type\" (PID 103) exited with exit code 1", "LOG: shutting down", "SIGTERM to 101")
	r.wantWake(5 * time.Second)
	r.pass(5 * time.Second) // auxiliary processes have nothing to finish
	r.want("LOG: issuing SIGKILL to recalcitrant children", "SIGKILL to 101")
	r.pass(5 * time.Second)
	r.want("LOG: still waiting for server monitor (PID 101) to stop") // a process can be stuck in the kernel
	r.step(immediate)
	r.trace = nil
	r.pass(10 * time.Second)
	r.want("LOG: issuing SIGKILL to recalcitrant children", "SIGKILL to 101", "LOG: still waiting for server monitor (PID 101) to stop")
}

// SPEC 9: a long list is cut short.
func TestSpec9AStopThatWaitsForManyNamesSome(t *testing.T) {
	var static []plugins.BackgroundWorker
	for range 25 {
		static = append(static, named("w"))
	}
	r := bareRig(t, static)
	r.step(postmaster.Started{})
	for range static {
		r.started("w")
	}
	r.step(fast)
	r.trace = nil
	r.pass(10 * time.Second)
	want := `LOG: still waiting for 25 background workers to stop | Still running: background worker "w" (PID 101), `
	tail := `background worker "w" (PID 120), 5 more.`
	if len(r.trace) != 1 || r.trace[0][:len(want)] != want || r.trace[0][len(r.trace[0])-len(tail):] != tail {
		t.Errorf("got %q", r.trace)
	}
}

// SPEC 15: the lock file is looked at once a minute, also while stopping.
func TestSpec15TheLockFileIsCheckedEveryMinute(t *testing.T) {
	r := newRig(t, named("w"))
	r.started("w")
	r.wantWake(time.Minute)
	for i := range 3 {
		r.pass(30 * time.Second)
		r.pass(30*time.Second - 1)
		if r.checks != i {
			t.Fatalf("%d checks in %d minutes", r.checks, i)
		}
		r.wantWake(1)
		r.pass(1)
	}
	r.step(fast)
	r.pass(time.Minute)
	if r.checks != 4 {
		t.Errorf("%d checks in 4 minutes, the last one in a shutdown", r.checks)
	}
}

// A reload is a reason to look, too: the files that it reads may be another's.
func TestSpec15TheLockFileIsCheckedAtAReload(t *testing.T) {
	r := newRig(t)
	r.pass(30 * time.Second)
	r.step(postmaster.ReloadRequested{})
	if r.checks != 1 {
		t.Errorf("%d checks", r.checks)
	}
	r.pass(time.Minute - 1) // for the slots
	r.pass(0)
	if r.checks != 1 {
		t.Errorf("%d checks within a minute", r.checks)
	}
	r.wantWake(1)
}

// SPEC 15: gone or another's.
func TestSpec15AnInvalidLockFileIsAnImmediateShutdown(t *testing.T) {
	r := newRig(t, named("w"))
	r.started("w")
	r.trace = nil
	r.step(postmaster.LockFileInvalid{})
	r.want("LOG: performing immediate shutdown because data directory lock file is invalid", "LOG: received immediate shutdown request",
		"SIGQUIT to 102", "SIGQUIT to 101")
	r.step(postmaster.LockFileInvalid{})
	r.want()
}

// SPEC 15: the status line.
func TestSpec15TheStatusFollowsTheHost(t *testing.T) {
	r := bareRig(t, workers(named("w")), postmaster.ServerMonitor)
	r.step(postmaster.Configured{})
	if r.status != nil {
		t.Errorf("before the start: %q", r.status)
	}
	r.step(postmaster.Started{})
	r.server(shmem.ServerReadWrite, serverA)
	r.server(shmem.ServerStandby, serverA)
	r.server(shmem.ServerStandby, serverA)
	r.server(shmem.ServerReadWrite, serverA)
	r.server(shmem.ServerStandby, serverB)
	r.server(shmem.ServerUnreachable, time.Time{})
	r.started("w")
	r.step(smart)
	r.server(shmem.ServerStandby, serverB)
	r.step(fast)
	r.step(immediate)
	if want := []string{"ready", "standby", "ready", "standby", "ready", "stopping"}; !slices.Equal(r.status, want) {
		t.Errorf("got %q, want %q", r.status, want)
	}
}

// SPEC 15: a host that is stopped while it starts.
func TestSpec15StoppedBeforeItWasReady(t *testing.T) {
	r := bareRig(t, nil)
	r.step(fast)
	if want := []string{"stopping"}; !slices.Equal(r.status, want) {
		t.Errorf("got %q, want %q", r.status, want)
	}
}
