package postmaster_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// withClients starts a machine with a worker, 101, and a gateway, 102, that has
// sessions.
func withClients(t *testing.T, sessions int, static ...plugins.BackgroundWorker) *rig {
	t.Helper()
	r := bareRig(t, append(static, named("w")), postmaster.Gateway)
	r.step(postmaster.Started{})
	r.started("w")
	r.started(postmaster.Gateway)
	r.clients[102] = sessions
	r.trace = nil
	return r
}

// leave is the end of sessions.
func (r *rig) leave(remaining int) {
	r.t.Helper()
	r.clients[102] = remaining
	r.step(postmaster.SessionsEnded{})
}

func TestSpec9ASmartShutdownWaitsForTheLastSession(t *testing.T) {
	r := withClients(t, 2)
	r.step(smart)
	r.want("LOG: received smart shutdown request")
	r.wantWake(10 * time.Second)
	if last := r.status[len(r.status)-1]; last != string(lockfile.Stopping) {
		t.Errorf("status %q", last)
	}
	if s := r.m.Statistics(); s.Phase != shmem.HostStopping {
		t.Errorf("the host is %v", s.Phase)
	}
	if c := r.m.Census(); c.Sessions != 2 || c.Stopping != postmaster.SmartShutdown {
		t.Errorf("%+v", c)
	}
	r.pass(10 * time.Second)
	r.want("LOG: still waiting for 2 sessions of the gateway to end")
	r.leave(1)
	r.want()
	r.pass(10 * time.Second)
	r.want("LOG: still waiting for 1 session of the gateway to end")
	r.step(smart) // once is enough
	r.want()
	r.leave(0)
	r.want("SIGTERM to 101")
	if c := r.m.Census(); c.Sessions != 0 {
		t.Errorf("%+v", c)
	}
	r.pass(10 * time.Second)
	r.want(`LOG: still waiting for background worker "w" (PID 101) to stop`)
	r.exit("w", code(1))
	r.want("slot 0: pid 0", `LOG: background worker "w type" (PID 101) exited with exit code 1`, "LOG: shutting down", "SIGTERM to 102")
	r.exit(postmaster.Gateway, code(0))
	r.want("DEBUG1: gateway process (PID 102) exited with exit code 0", bye)
}

// SPEC 9: until then workers run, and are started and restarted, and terminated.
func TestSpec9WhileASmartShutdownWaitsWorkersComeAndGo(t *testing.T) {
	r := withClients(t, 1)
	r.step(smart)
	r.trace = nil
	slot := r.register(named("new", notifying(102)))
	r.want(`DEBUG1: registering background worker "new"`, `DEBUG1: starting background worker process "new"`, "spawn new, slot 1")
	r.started("new")
	r.want("slot 1: pid 103", "notify 102")
	r.exit("w", code(1))
	r.want("slot 0: pid 0", `LOG: background worker "w type" (PID 101) exited with exit code 1`)
	r.wantWake(5 * time.Second)
	r.pass(5 * time.Second)
	r.want(`DEBUG1: starting background worker process "w"`, "spawn w, slot 0")
	r.terminate(slot)
	r.want("SIGTERM to 103")
	r.exit("new", code(1))
	r.trace = nil
	r.step(postmaster.ReloadRequested{})
	r.want("LOG: received SIGHUP, reloading configuration files", "Reload{}", "SIGHUP to 102")
	r.leave(0)
	r.want()
	r.started("w") // whose start was unanswered
	r.want("slot 0: pid 104", "SIGTERM to 104")
	r.register(named("late", notifying(102)))
	r.want("slot 1: pid 0", "release slot 1", "notify 102")
}

// Who waits for a worker that can't start any more is told then, and not before.
func TestSpec9UnstartedWorkersAreForgottenWhenTheLastSessionHasLeft(t *testing.T) {
	r := withClients(t, 1)
	r.register(named("unstarted", database, notifying(102)))
	r.trace = nil
	r.step(smart)
	r.want("LOG: received smart shutdown request")
	r.leave(0)
	r.want("release slot 1", `DEBUG1: unregistering background worker "unstarted"`, "notify 102", "SIGTERM to 101")
}

// worker_stop_timeout is how long workers have, not clients.
func TestWorkerStopTimeoutBeginsWhenTheLastSessionHasLeft(t *testing.T) {
	r := withClients(t, 1)
	r.step(postmaster.Configured{WorkerStopTimeout: 3 * time.Second})
	r.step(smart)
	r.trace = nil
	r.pass(9 * time.Second)
	r.want()
	r.leave(0)
	r.want("SIGTERM to 101")
	r.wantWake(3 * time.Second)
	r.pass(3*time.Second - 1)
	r.want()
	r.pass(1)
	r.want(`LOG: issuing SIGKILL to background worker "w" (PID 101) | It has not stopped within "worker_stop_timeout" (3s).`, "SIGKILL to 101")
}

// SPEC 9: a more immediate mode does not ask for sessions, whatever shared memory
// says of them.
func TestSpec9FastAndImmediateDoNotWaitForSessions(t *testing.T) {
	for _, waiting := range []bool{true, false} {
		r := withClients(t, shmem.MaxSlots)
		if waiting {
			r.step(smart)
			r.trace = nil
		}
		r.step(fast)
		r.want("LOG: received fast shutdown request", "LOG: aborting any active transactions", "SIGTERM to 101")

		r = withClients(t, shmem.MaxSlots)
		if waiting {
			r.step(smart)
			r.trace = nil
		}
		r.step(immediate)
		r.want("LOG: received immediate shutdown request", "SIGQUIT to 101", "SIGQUIT to 102")
	}
}

// Its sessions end with the gateway, and it gets no successor.
func TestTheEndOfTheGatewayEndsTheWaitForItsSessions(t *testing.T) {
	for how, line := range map[string]string{
		"killed": "LOG: gateway process (PID 102) was terminated by signal 9: Killed",
		"done":   "LOG: gateway process (PID 102) exited with exit code 0",
	} {
		r := withClients(t, 1)
		r.pass(time.Minute) // since the gateway was started: a successor would be due
		r.step(smart)
		r.trace = nil
		if how == "killed" {
			r.exit(postmaster.Gateway, killedBy(unix.SIGKILL))
		} else {
			r.exit(postmaster.Gateway, code(0))
		}
		r.want(line, "SIGTERM to 101")
	}
}

// Shared memory may say what it wants of a gateway that has no process.
func TestASmartShutdownWaitsForNoGatewayThatIsNotThere(t *testing.T) {
	r := bareRig(t, nil, postmaster.Gateway, postmaster.ServerMonitor)
	r.clients[0], r.clients[101] = 1, 1
	r.step(postmaster.Started{})
	r.started(postmaster.ServerMonitor)
	r.trace = nil
	r.step(smart)
	r.want("LOG: received smart shutdown request", "LOG: shutting down", "SIGTERM to 101")
}

// A negative number is no number of sessions.
func TestASmartShutdownDoesNotWaitForGarbage(t *testing.T) {
	r := withClients(t, -1)
	r.step(smart)
	r.want("LOG: received smart shutdown request", "SIGTERM to 101")
}

// SPEC 7: a crash that reaches all ends the sessions too.
func TestACrashCycleEndsTheWaitForSessions(t *testing.T) {
	r := withClients(t, 1)
	r.step(postmaster.Configured{CrashScope: postmaster.CrashScopeCluster, RestartAfterCrash: true})
	r.step(smart)
	r.trace = nil
	r.exit("w", code(2))
	r.want(`LOG: background worker "w type" (PID 101) exited with exit code 2`, "LOG: terminating any other active server processes",
		"SIGQUIT to 102", "slot 0: pid 0")
	r.exit(postmaster.Gateway, code(2))
	r.want("LOG: abnormal database system shutdown", "Exit{Code:1}")
}
