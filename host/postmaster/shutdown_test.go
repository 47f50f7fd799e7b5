package postmaster_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

func shutdown(mode postmaster.ShutdownMode) postmaster.Event {
	return postmaster.ShutdownRequested{Mode: mode}
}

var (
	smart     = shutdown(postmaster.SmartShutdown)
	fast      = shutdown(postmaster.FastShutdown)
	immediate = shutdown(postmaster.ImmediateShutdown)
)

const bye = "Exit{Code:0}"

// SPEC 9: workers first, then the auxiliary processes, then the host.
func TestSpec9FastShutdown(t *testing.T) {
	for mode, first := range map[postmaster.Event][]string{
		smart: {"LOG: received smart shutdown request"},
		fast:  {"LOG: received fast shutdown request", "LOG: aborting any active transactions"},
	} {
		r := newRig(t, named("b"), named("a"))
		r.started("a")
		r.started("b")
		r.trace = nil
		r.step(mode)
		r.want(append(first, "SIGTERM to 102", "SIGTERM to 103")...)
		r.exit("b", code(1))
		r.want("slot 1: pid 0", `LOG: background worker "b type" (PID 103) exited with exit code 1`)
		r.pass(time.Hour) // no kill timeout, no restart
		r.want(`LOG: still waiting for background worker "a" (PID 102) to stop`)
		r.wantWake(10 * time.Second)
		r.exit("a", code(0))
		r.want("slot 0: pid 0", "release slot 0", `DEBUG1: unregistering background worker "a"`,
			`DEBUG1: background worker "a type" (PID 102) exited with exit code 0`, "LOG: shutting down", "SIGTERM to 101")
		r.exit("server monitor", code(0))
		r.want("DEBUG1: server monitor process (PID 101) exited with exit code 0", bye)
		if _, ok := r.m.NextWake(); ok {
			t.Error("NextWake after Exit")
		}
		r.step(immediate)
		r.want()
	}
}

// SPEC 9: unstarted workers with a waiter are forgotten, and the waiter is
// told. Others stay, and end with the host.
func TestSpec9UnstartedWorkersAreForgottenForTheirWaiters(t *testing.T) {
	r := newRig(t, named("starting"))
	r.register(named("waited for", database, notifying(101)))
	r.register(named("waited for by nobody", database))
	r.trace = nil
	r.step(fast)
	r.want("LOG: received fast shutdown request", "LOG: aborting any active transactions",
		"release slot 1", `DEBUG1: unregistering background worker "waited for"`, "notify 101")
}

// SPEC 9: a worker whose start is unanswered is reported, then stopped.
func TestSpec9StartUnansweredInAFastShutdown(t *testing.T) {
	r := newRig(t)
	r.register(named("w", notifying(101)))
	r.step(fast)
	r.trace = nil
	r.pass(time.Hour)
	r.want(`LOG: still waiting for background worker "w" (still being started) to stop`)
	r.started("w")
	r.want("slot 0: pid 102", "notify 101", "SIGTERM to 102")

	r = newRig(t)
	r.register(named("w", notifying(101)))
	r.step(fast)
	r.trace = nil
	r.fail("w", errNoExec, true) // is not retried now
	r.want(`LOG: could not fork background worker process: "/lib/x": no such file or directory`, "slot 0: pid 0", "notify 101",
		"LOG: shutting down", "SIGTERM to 101")
}

// SPEC 9: an auxiliary process that is being started serves the workers until
// they are gone.
func TestSpec9AuxiliaryStartUnansweredInAFastShutdown(t *testing.T) {
	r := bareRig(t, []plugins.BackgroundWorker{named("w")}, "early", "late", "failing")
	r.step(postmaster.Started{})
	r.started("w")
	r.step(fast)
	r.trace = nil
	r.started("early")
	r.want()
	r.exit("w", code(1))
	r.want("slot 0: pid 0", `LOG: background worker "w type" (PID 101) exited with exit code 1`, "LOG: shutting down", "SIGTERM to 102")
	r.started("late")
	r.want("SIGTERM to 103")
	r.fail("failing", errNoExec, false)
	r.want(`LOG: could not fork "failing" process: "/lib/x": no such file or directory`)
	r.exit("early", code(0))
	r.trace = nil
	r.exit("late", code(1))
	r.want("LOG: late process (PID 103) exited with exit code 1", bye)
}

// SPEC 3 and 9: once stopping has begun, new registrations are refused, and
// whoever waits is told.
func TestSpec9SlotChangesWhileStopping(t *testing.T) {
	r := newRig(t, named("w"))
	r.started("w")
	slot := r.register(named("waiting", restart(500), notifying(101)))
	r.started("waiting")
	r.exit("waiting", code(1))
	r.step(smart)
	r.trace = nil
	r.register(named("new", parallel, notifying(101)))
	r.want("slot 2: pid 0", "release slot 2 (parallel)", "notify 101")
	r.terminate(slot)
	r.want("slot 1: pid 0", "release slot 1", `DEBUG1: unregistering background worker "waiting"`, "notify 101")
	r.terminate(0)
	r.want("SIGTERM to 102")
}

// SPEC 5: news of the server start nothing any more, and no loss is waited for.
func TestSpec9TheServerWhileStopping(t *testing.T) {
	r := newRig(t, named("unstarted", database), named("w", database))
	r.server(shmem.ServerReadWrite, serverA)
	r.started("w")
	r.step(smart)
	r.started("unstarted")
	r.trace = nil
	r.server(shmem.ServerReadWrite, serverB)
	r.want()
	r.exit("w", sqlState("57P01"))
	r.want("slot 0: pid 0", `LOG: background worker "w type" (PID 102) exited with exit code 1`)
	r.exit("server monitor", code(1)) // is not restarted
	r.want("LOG: server monitor process (PID 101) exited with exit code 1")
}

// SPEC 9: SIGQUIT to all, SIGKILL after 5 s.
func TestSpec9ImmediateShutdown(t *testing.T) {
	r := newRig(t, named("b"), named("a"))
	r.started("a")
	r.started("b")
	r.trace = nil
	r.step(immediate)
	r.want("LOG: received immediate shutdown request", "SIGQUIT to 102", "SIGQUIT to 103", "SIGQUIT to 101")
	r.exit("a", running("x", code(2))) // that was the order
	r.want("slot 0: pid 0")
	r.wantWake(5 * time.Second)
	r.pass(5*time.Second - 1)
	r.want()
	r.pass(1)
	r.want("LOG: issuing SIGKILL to recalcitrant children", "SIGKILL to 103", "SIGKILL to 101")
	r.wantWake(5 * time.Second) // to say whom it waits for
	r.exit("b", killedBy(unix.SIGKILL))
	r.exit("server monitor", killedBy(unix.SIGKILL))
	r.want("slot 1: pid 0", bye)
}

// SPEC 9: a child that is not there yet gets what the others got.
func TestSpec9StartUnansweredInAnImmediateShutdown(t *testing.T) {
	r := newRig(t, named("w"))
	r.step(immediate)
	r.trace = nil
	r.started("w")
	r.want("slot 0: pid 102", "SIGQUIT to 102")

	r = newRig(t, named("w"))
	r.step(immediate)
	r.trace = nil
	r.pass(5 * time.Second)
	r.want("LOG: issuing SIGKILL to recalcitrant children", "SIGKILL to 101")
	r.started("w")
	r.want("slot 0: pid 102", "SIGKILL to 102")
}

// SPEC 9: an exec that hangs holds up an immediate shutdown for 5 s, not for
// ever.
func TestSpec9HangingStartInAnImmediateShutdown(t *testing.T) {
	r := newRig(t, named("w"))
	r.step(immediate)
	r.exit("server monitor", code(2))
	r.trace = nil
	r.pass(5*time.Second - 1)
	r.want()
	r.pass(1)
	r.want("LOG: issuing SIGKILL to recalcitrant children", bye)
}

// SPEC 9: a more immediate mode overrides a milder one; repeats and milder
// ones are ignored.
func TestSpec9Override(t *testing.T) {
	r := newRig(t, named("w"))
	r.started("w")
	r.trace = nil
	r.step(smart)
	r.want("LOG: received smart shutdown request", "SIGTERM to 102")
	r.step(smart)
	r.want()
	r.step(fast)
	r.want("LOG: received fast shutdown request")
	r.step(fast)
	r.step(smart)
	r.want()
	r.step(immediate)
	r.want("LOG: received immediate shutdown request", "SIGQUIT to 102", "SIGQUIT to 101")
	r.step(immediate)
	r.step(shutdown(postmaster.NoShutdown))
	r.want()
	r.exit("w", code(2))
	r.exit("server monitor", code(2))
	r.want("slot 0: pid 0", bye)
}

// SPEC 9: also when the workers are gone already.
func TestSpec9ImmediateAfterFast(t *testing.T) {
	r := newRig(t)
	r.step(fast)
	r.want("LOG: received fast shutdown request", "LOG: aborting any active transactions", "LOG: shutting down", "SIGTERM to 101")
	r.step(immediate)
	r.want("LOG: received immediate shutdown request", "SIGQUIT to 101")
	r.pass(5 * time.Second)
	r.want("LOG: issuing SIGKILL to recalcitrant children", "SIGKILL to 101")
}

// SPEC 9: a request can come before anything was started.
func TestSpec9ShutdownBeforeStarted(t *testing.T) {
	for mode, want := range map[postmaster.Event][]string{
		smart:     {"LOG: received smart shutdown request", "LOG: shutting down", bye},
		fast:      {"LOG: received fast shutdown request", "LOG: shutting down", bye},
		immediate: {"LOG: received immediate shutdown request", bye},
	} {
		r := bareRig(t, []plugins.BackgroundWorker{named("w")}, "gateway")
		if _, ok := r.m.NextWake(); ok {
			t.Error("NextWake before the first step")
		}
		r.step(mode)
		r.want(want...)
		r.step(postmaster.Started{})
		r.want()
	}
}

func TestShutdownModeString(t *testing.T) {
	for mode, want := range map[postmaster.ShutdownMode]string{
		postmaster.NoShutdown: "no", postmaster.SmartShutdown: "smart", postmaster.FastShutdown: "fast", postmaster.ImmediateShutdown: "immediate",
	} {
		if mode.String() != want {
			t.Errorf("got %v, want %s", mode, want)
		}
	}
}

// An answer or an exit that no child belongs to means nothing.
func TestUnknownChildrenAreIgnored(t *testing.T) {
	r := newRig(t, named("w"))
	r.step(postmaster.Spawned{Child: 4711, Pid: 5})
	r.step(postmaster.Exited{Child: 4711})
	r.m.Step(r.now, postmaster.Exited{Child: r.byName["w"]}) // has not been answered
	r.trace = nil
	r.started("w")
	r.want("slot 0: pid 102")
	r.m.Step(r.now, postmaster.Spawned{Child: r.byName["w"], Pid: 5})
	r.exit("w", code(1))
	r.want("slot 0: pid 0", `LOG: background worker "w type" (PID 102) exited with exit code 1`)
}
