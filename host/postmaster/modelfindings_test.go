package postmaster_test

import (
	"slices"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
)

// What the reference model found, as scripts to read.

// HandleChildCrash: nothing is said of a crash once children are told to die,
// whatever its exit code pretends.
func TestACrashWithExitCode1IsNotLoggedInAnImmediateShutdownOrACrashCycle(t *testing.T) {
	held := unclean(critical(code(1)))
	r := newRig(t, named("w"))
	r.started("w")
	r.step(immediate)
	r.trace = nil
	r.exit("w", held)
	r.want("slot 0: pid 0")

	r = newRig(t, named("b"), named("a"))
	r.started("a")
	r.started("b")
	r.exit("a", held)
	r.trace = nil
	r.exit("b", held)
	r.want("slot 1: pid 0")
}

// A start that is given up after the SIGKILL is not waited for, and so nobody
// is told that it is.
func TestAStopDoesNotSayThatItWaitsForAStartThatIsGivenUp(t *testing.T) {
	r := newRig(t, named("hangs"), named("stuck"))
	r.started("stuck")
	r.step(immediate)
	r.pass(5 * time.Second)
	r.trace = nil
	r.pass(5 * time.Second)
	r.want(`LOG: still waiting for background worker "stuck" (PID 102) to stop`)
}

// A parallel worker that restarts would survive a crash cycle, and be counted
// as terminated by a segment that never counted it as registered.
func TestAParallelWorkerThatRestartsIsRefused(t *testing.T) {
	r := newRig(t)
	w := named("w", restart(5))
	w.Flags |= plugins.ClassParallel
	r.register(w)
	r.want("LOG: invalid background worker registration in slot 0", "slot 0: pid 0", "release slot 0 (parallel)")
	if slices.ContainsFunc(r.m.Step(r.now, postmaster.Tick{}), func(c postmaster.Command) bool { _, ok := c.(postmaster.Spawn); return ok }) {
		t.Error("it was started")
	}
}
