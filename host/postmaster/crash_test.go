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

func scope(s postmaster.CrashScope) postmaster.Event {
	return postmaster.Configured{CrashScope: s, RestartAfterCrash: true}
}

// critical makes an exit one of a child that held a lock.
func critical(ev postmaster.Exited) postmaster.Exited {
	ev.Critical = true
	return ev
}

// unclean makes an exit one that skipped the runtime's farewell.
func unclean(ev postmaster.Exited) postmaster.Exited {
	ev.Clean = false
	return ev
}

// SPEC 7: the cycle from the crash to the new beginning.
func TestSpec7CrashCycle(t *testing.T) {
	r := newRig(t, named("never", restart(never)), named("slow", restart(3600)), named("quick"))
	r.started("quick")
	r.started("slow")
	r.started("never")
	dynamic := r.register(named("dynamic", restart(1000), notifying(102)))
	r.started("dynamic")
	r.exit("dynamic", code(1)) // waits for its delay, in slot 3
	if dynamic != 3 {
		t.Fatalf("slot %d", dynamic)
	}
	r.step(scope(postmaster.CrashScopeCluster))
	r.trace = nil

	r.exit("quick", killedBy(unix.SIGSEGV))
	r.want(`LOG: background worker "quick type" (PID 102) was terminated by signal 11: Segmentation fault`,
		"LOG: terminating any other active server processes",
		"SIGQUIT to 103", "SIGQUIT to 104", "SIGQUIT to 101", "slot 0: pid 0")
	r.wantWake(5 * time.Second)
	r.register(named("too late", notifying(103)))
	r.want("slot 4: pid 0", "release slot 4", "notify 103")
	r.exit("slow", code(2)) // that was the order
	r.exit("server monitor", code(2))
	r.want("slot 1: pid 0")
	r.pass(5 * time.Second)
	r.want("LOG: issuing SIGKILL to recalcitrant children", "SIGKILL to 104")
	r.exit("never", killedBy(unix.SIGKILL))
	r.want("slot 2: pid 0", "release slot 2", `DEBUG1: unregistering background worker "never"`,
		"LOG: all server processes terminated; reinitializing", "Reinitialize{}",
		"init slot 0: dynamic", "init slot 1: quick", "init slot 2: slow",
		"spawn server monitor, slot -1", `DEBUG1: starting background worker process "dynamic"`, "spawn dynamic, slot 0")
	r.started("dynamic")
	r.want("slot 0: pid 106", `DEBUG1: starting background worker process "quick"`, "spawn quick, slot 1") // and nobody is notified
	r.started("quick")
	r.started("slow")
	r.exit("quick", code(1)) // the restart time counts again
	r.trace = nil
	r.pass(5 * time.Second)
	r.want(`DEBUG1: starting background worker process "quick"`, "spawn quick, slot 1")
	if want := []string{"ready"}; !slices.Equal(r.status, want) {
		t.Errorf("status %q, want %q", r.status, want)
	}
}

// SPEC 7: who survives a cycle and who does not, running or not.
func TestSpec7NeverRestartAndTerminatedWorkersAreForgotten(t *testing.T) {
	r := newRig(t, named("never", database, restart(never)), named("waiting", database), named("victim"))
	r.started("victim")
	gone := r.register(named("terminated", database))
	r.slots.slot[gone].terminate = true
	r.step(scope(postmaster.CrashScopeCluster))
	r.step(postmaster.SlotsChanged{})
	r.exit("victim", code(2))
	r.trace = nil
	r.exit("server monitor", code(2))
	r.want("LOG: all server processes terminated; reinitializing", `DEBUG1: unregistering background worker "never"`, "Reinitialize{}",
		"init slot 0: victim", "init slot 1: waiting", "spawn server monitor, slot -1", `DEBUG1: starting background worker process "victim"`, "spawn victim, slot 0")
	r.started("victim")
	r.started("server monitor")
	r.trace = nil
	r.server(shmem.ServerReadWrite, serverA) // its state was unknown until then
	r.want(`DEBUG1: starting background worker process "waiting"`, "spawn waiting, slot 1")
}

// A request is its launcher's to register again, whatever the restart time.
func TestAWorkerWithARequestDoesNotSurviveACrashCycle(t *testing.T) {
	r := newRig(t, named("victim"))
	r.started("victim")
	r.register(requested(named("held", database, restart(5)), 7))
	r.step(scope(postmaster.CrashScopeCluster))
	r.exit("victim", code(2))
	r.trace = nil
	r.exit("server monitor", code(2))
	r.want("LOG: all server processes terminated; reinitializing", `DEBUG1: unregistering background worker "held"`, "Reinitialize{}",
		"init slot 0: victim", "spawn server monitor, slot -1", `DEBUG1: starting background worker process "victim"`, "spawn victim, slot 0")
	if n := len(r.buried); n != 1 || r.buried[0].Worker.Request() != 7 {
		t.Errorf("buried: %+v", r.buried)
	}
}

// A child finds its gate by what Spawn says.
func TestAStartNamesSlotAndGeneration(t *testing.T) {
	r := newRig(t)
	r.slots.slot[0].generation = 41
	i := r.slots.claim(requested(named("held"), 7))
	for _, cmd := range r.m.Step(r.now, postmaster.SlotsChanged{}) {
		if c, ok := cmd.(postmaster.Spawn); ok && c.Slot == i && c.Generation == 42 && c.Worker.Request() == 7 {
			return
		}
	}
	t.Error("there is no such Spawn")
}

// SPEC 7: crash_scope and what counts as a crash.
func TestSpec7CrashScope(t *testing.T) {
	const (
		alone  = "alone"  // the others live on
		cycle  = "cycle"  // they do not
		broken = "broken" // they do, and a lock was freed
	)
	for name, tt := range map[string]struct {
		exit                  postmaster.Exited
		auto, cluster, worker string
	}{
		"killed":                             {killedBy(unix.SIGKILL), alone, cycle, alone},
		"exit 2":                             {code(2), alone, cycle, alone},
		"killed with a lock":                 {critical(killedBy(unix.SIGKILL)), cycle, cycle, broken},
		"exit 1":                             {code(1), alone, alone, alone},
		"exit 0":                             {code(0), alone, alone, alone},
		"os.Exit(1) without a lock":          {unclean(code(1)), alone, alone, alone},
		"os.Exit(1) with a lock":             {unclean(critical(code(1))), cycle, cycle, broken},
		"os.Exit(0) with a lock":             {unclean(critical(code(0))), cycle, cycle, broken},
		"SIGTERM before it was ready":        {postmaster.Exited{Status: postmaster.ExitStatus{Signaled: true, Signal: unix.SIGTERM}}, alone, alone, alone},
		"orderly, as far as anybody can say": {critical(code(1)), alone, alone, alone},
	} {
		for s, want := range map[postmaster.CrashScope]string{
			postmaster.CrashScopeAuto: tt.auto, postmaster.CrashScopeCluster: tt.cluster, postmaster.CrashScopeWorker: tt.worker,
		} {
			for _, child := range []string{"w", "server monitor"} {
				r := newRig(t, named("other"), named("w"))
				r.started("w")
				r.started("other")
				r.step(scope(s))
				r.trace = nil
				r.exit(child, tt.exit)
				got := alone
				switch {
				case slices.Contains(r.trace, "SIGQUIT to 103"):
					got = cycle
				case slices.ContainsFunc(r.trace, func(line string) bool { return line[:5] == "Break" }):
					got = broken
				}
				if got != want {
					t.Errorf("%s, %s, scope %d: %s, want %s: %q", name, child, s, got, want, r.trace)
				}
			}
		}
	}
}

// SPEC 7: restart_after_crash = off.
func TestSpec7WithoutRestartAfterCrash(t *testing.T) {
	r := newRig(t, named("w"))
	r.started("w")
	r.step(postmaster.Configured{CrashScope: postmaster.CrashScopeCluster})
	r.exit("w", code(3))
	r.trace = nil
	r.exit("server monitor", code(2))
	r.want(`LOG: shutting down because "restart_after_crash" is off`, "Exit{Code:1}")
}

// SPEC 7 and 9: a shutdown that comes in a cycle, and a crash in a shutdown.
func TestSpec7CrashAndShutdown(t *testing.T) {
	for _, mode := range []postmaster.Event{smart, fast, immediate} {
		r := newRig(t, named("w"))
		r.started("w")
		r.step(scope(postmaster.CrashScopeCluster))
		r.exit("w", code(3))
		r.step(mode)
		r.trace = nil
		r.exit("server monitor", code(2))
		r.want("LOG: abnormal database system shutdown", "Exit{Code:1}")
	}
	for _, mode := range []postmaster.Event{smart, fast} {
		r := newRig(t, named("other"), named("w"))
		r.started("w")
		r.started("other")
		r.step(scope(postmaster.CrashScopeCluster))
		r.step(mode)
		r.trace = nil
		r.exit("w", code(3))
		r.want(`LOG: background worker "w type" (PID 102) exited with exit code 3`, "LOG: terminating any other active server processes",
			"SIGQUIT to 103", "SIGQUIT to 101", "slot 0: pid 0")
		r.exit("other", code(2))
		r.exit("server monitor", code(2))
		r.want("slot 1: pid 0", "LOG: abnormal database system shutdown", "Exit{Code:1}")
	}
	r := newRig(t, named("w"))
	r.started("w")
	r.step(scope(postmaster.CrashScopeCluster))
	r.step(immediate)
	r.exit("w", code(3))
	r.trace = nil
	r.exit("server monitor", code(2))
	r.want(bye)
}

// SPEC 9: a worker that worker_stop_timeout has ended did not crash.
func TestSpec7AWorkerThatWasKilledForItsSlownessDidNotCrash(t *testing.T) {
	r := bareRig(t, workers(named("w")))
	r.step(postmaster.Configured{WorkerStopTimeout: time.Second, CrashScope: postmaster.CrashScopeCluster, RestartAfterCrash: true})
	r.step(postmaster.Started{})
	r.started("w")
	r.step(fast)
	r.pass(time.Second)
	r.trace = nil
	r.exit("w", killedBy(unix.SIGKILL))
	r.want(`LOG: background worker "w type" (PID 101) was terminated by signal 9: Killed`, "slot 0: pid 0", "LOG: shutting down", bye)
}

// SPEC 7: nothing starts in a cycle, and a start that is unanswered is waited
// for: its process has the old shared memory.
func TestSpec7AStartThatIsUnansweredHoldsUpTheCycle(t *testing.T) {
	r := newRig(t, named("slow"), named("w"))
	r.started("w")
	r.step(scope(postmaster.CrashScopeCluster))
	r.exit("w", code(3))
	r.exit("server monitor", code(2))
	r.trace = nil
	r.pass(5 * time.Second)
	r.want("LOG: issuing SIGKILL to recalcitrant children")
	r.pass(5 * time.Second)
	r.want(`LOG: still waiting for background worker "slow" (still being started) to stop`)
	r.started("slow")
	r.want("slot 1: pid 103", "SIGKILL to 103")
	r.exit("slow", killedBy(unix.SIGKILL))
	r.want("slot 1: pid 0", "LOG: all server processes terminated; reinitializing", "Reinitialize{}", "init slot 0: w", "init slot 1: slow",
		"spawn server monitor, slot -1", `DEBUG1: starting background worker process "w"`, "spawn w, slot 0")
}

// The words of the setting.
func TestParseCrashScope(t *testing.T) {
	for name, want := range map[string]postmaster.CrashScope{
		"auto": postmaster.CrashScopeAuto, "cluster": postmaster.CrashScopeCluster, "worker": postmaster.CrashScopeWorker,
	} {
		if got := postmaster.ParseCrashScope(name); got != want {
			t.Errorf("%s: %d", name, got)
		}
	}
}

// SPEC 7: [12][13] a worker without shared memory never causes a crash cycle.
func TestSpec7AWorkerWithoutSharedMemoryHarmsNobody(t *testing.T) {
	r := newRig(t, named("bare", func(w *plugins.BackgroundWorker) { w.Flags = 0 }))
	r.started("bare")
	r.step(scope(postmaster.CrashScopeCluster))
	r.trace = nil
	r.exit("bare", killedBy(unix.SIGSEGV))
	r.want(`LOG: background worker "bare type" (PID 102) was terminated by signal 11: Segmentation fault`, "slot 0: pid 0")
	r.wantWake(5 * time.Second)
}
