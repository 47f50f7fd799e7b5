package postmaster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

func showAnswer(c postmaster.AnswerReload) string {
	if c.Err != nil {
		return "answer: " + c.Err.Error()
	}
	line := "answer:"
	for _, w := range c.Workers {
		line += fmt.Sprintf(" %s %s", w.Fate, w.Worker.Name)
		if w.Pid != 0 {
			line += fmt.Sprintf(" (%d)", w.Pid)
		}
		if w.Changed {
			line += " changed"
		}
	}
	return line
}

// of gives a worker the library that the tests load again.
func of(library string) func(*plugins.BackgroundWorker) {
	return func(w *plugins.BackgroundWorker) { w.LibraryName = library }
}

// newLibraryRig starts a machine whose static workers are those of a library,
// which all run, and returns their pids in the order of their registration.
func newLibraryRig(t *testing.T, static ...plugins.BackgroundWorker) (*rig, []int) {
	t.Helper()
	r := newRigOf(t, "lib", static...)
	pids := make([]int, len(static))
	for i := len(static) - 1; i >= 0; i-- {
		pids[i] = r.started(static[i].Name)
	}
	r.trace = nil
	return r, pids
}

// newRigOf is newRig with static workers that a library has registered.
func newRigOf(t *testing.T, registrar string, static ...plugins.BackgroundWorker) *rig {
	t.Helper()
	r := bareRig(t, nil)
	var registrars []string
	for range static {
		registrars = append(registrars, registrar)
	}
	r.m = postmaster.New(postmaster.Config{Slots: r.slots, Static: static, Registrars: registrars, Auxiliary: []string{postmaster.ServerMonitor}})
	r.step(postmaster.Started{})
	r.started(postmaster.ServerMonitor)
	return r
}

// reload runs the Init of the library, which registers workers now.
func (r *rig) reload(static ...plugins.BackgroundWorker) {
	r.t.Helper()
	r.step(postmaster.LibraryReloadRequested{Name: "lib"})
	r.want("preload lib")
	r.started("lib")
	r.exit("lib", code(0))
	r.want()
	r.reloaded(static...)
}

func (r *rig) reloaded(static ...plugins.BackgroundWorker) {
	r.t.Helper()
	r.step(postmaster.LibraryReloaded{Names: []string{"lib"}, Places: []string{"new file", "/lib"}, Registrar: "lib", Static: static})
}

func TestAReloadDrainsAWorkerAndStartsItAgainAtOnce(t *testing.T) {
	for name, how := range map[string]postmaster.Exited{"exits": code(1), "crashes": code(2), "is killed": killedBy(unix.SIGKILL)} {
		for _, seconds := range []int{never, 0, 3600} {
			t.Run(fmt.Sprint(name, seconds), func(t *testing.T) {
				w := named("w", restart(seconds))
				r, pids := newLibraryRig(t, w)
				generation := r.slots.Generation(0)
				r.reload(w)
				r.want(fmt.Sprintf("SIGTERM to %d", pids[0]), fmt.Sprintf("answer: restart w (%d)", pids[0]))
				if !r.reports[0].Draining {
					t.Error("nobody is told that it is drained")
				}
				r.pass(time.Hour) // as long as it needs
				r.want()
				r.exit("w", how)
				if got := strings.Join(r.trace, "\n"); !strings.Contains(got, "slot 0: pid 0") || !strings.HasSuffix(got, "spawn w, slot 0") {
					t.Errorf("got\n%s", got)
				}
				r.started("w")
				if r.slots.Generation(0) != generation || r.reports[0].Restarts != 1 || r.reports[0].Draining {
					t.Errorf("generation %d, %d restarts", r.slots.Generation(0), r.reports[0].Restarts)
				}
				r.trace = nil
				r.exit("w", code(1)) // from here on it is a worker as any other
				r.pass(time.Second)
				if got := strings.Join(r.trace, "\n"); strings.Contains(got, "spawn") != (seconds == 0) || strings.Contains(got, "release") != (seconds == never) {
					t.Errorf("got\n%s", got)
				}
			})
		}
	}
}

func TestADrainedWorkerThatIsDoneIsDone(t *testing.T) {
	r, pids := newLibraryRig(t, named("w", restart(0)))
	r.reload(named("w", restart(0)))
	r.trace = nil
	r.exit("w", code(0))
	r.want("slot 0: pid 0", "release slot 0", `DEBUG1: unregistering background worker "w"`, fmt.Sprintf(`DEBUG1: background worker "w type" (PID %d) exited with exit code 0`, pids[0]))
	r.reload(named("w", restart(0))) // and comes back with the next reload
	r.want("answer: new w")
}

func TestAReloadStartsAWorkerThatWaits(t *testing.T) {
	w := named("w", restart(3600))
	r, _ := newLibraryRig(t, w)
	r.exit("w", code(1))
	r.trace = nil
	r.reload(w)
	r.want("answer: start w", `DEBUG1: starting background worker process "w"`, "spawn w, slot 0")
}

// The start test is the server's, and no reload passes it.
func TestAReloadStartsNobodyWithoutAServer(t *testing.T) {
	w := named("w", database)
	r := newRigOf(t, "lib", w)
	r.trace = nil
	r.reload(w)
	r.want("answer: start w")
	r.server(shmem.ServerReadWrite, serverA)
	r.started("w")
	r.server(shmem.ServerUnreachable, serverA)
	r.trace = nil
	r.reload(w)
	r.trace = nil
	r.exit("w", sqlState("57P01"))
	if got := strings.Join(r.trace, "\n"); strings.Contains(got, "spawn") || strings.Contains(got, "release") {
		t.Errorf("got\n%s", got)
	}
	r.server(shmem.ServerReadWrite, serverA)
	if got := strings.Join(r.trace, "\n"); !strings.HasSuffix(got, "spawn w, slot 0") {
		t.Errorf("got\n%s", got)
	}
}

// Dynamic workers are drained too, by the name of their library or by where that
// was found; others are left alone.
func TestAReloadConcernsTheWorkersOfTheLibrary(t *testing.T) {
	r := newRigOf(t, "lib", named("static"))
	r.started("static")
	for _, name := range []string{"by name", "by path", "stranger", "parallel", "request"} {
		w := named(name, restart(never))
		place := "/lib"
		switch name {
		case "by path":
			w.LibraryName = "/x/../lib"
		case "stranger":
			w.LibraryName, place = "other", "/other"
		case "parallel":
			parallel(&w)
		case "request":
			w = requested(w, 7)
		}
		r.register(w)
		r.pids++
		r.step(postmaster.Spawned{Child: r.byName[name], Pid: r.pids, Places: []string{"old file", place}})
	}
	r.trace = nil
	r.reload(named("static"))
	r.want("SIGTERM to 102", "SIGTERM to 103", "SIGTERM to 104", "answer: restart static (102) restart by name (103) restart by path (104) kept parallel (106) kept request (107)")
	r.reload(named("static")) // who is being drained is not told again
	r.want("answer: restart static (102) restart by name (103) restart by path (104) kept parallel (106) kept request (107)")
}

func TestAReloadOfALibraryThatIsNotPreloadedRegistersNothing(t *testing.T) {
	r, pids := newLibraryRig(t, named("w"))
	r.step(postmaster.LibraryReloaded{Names: []string{"lib"}, Static: []plugins.BackgroundWorker{}})
	r.want(fmt.Sprintf("SIGTERM to %d", pids[0]), fmt.Sprintf("answer: restart w (%d)", pids[0]))
}

func TestAChangedRegistrationHoldsFromTheNextStartOn(t *testing.T) {
	r, pids := newLibraryRig(t, named("w"), named("same", of("other")))
	changed := named("w", restart(77), func(w *plugins.BackgroundWorker) { w.Type, w.LibraryName = "new type", "moved" })
	r.reload(changed, named("same", of("other")))
	r.want(fmt.Sprintf("SIGTERM to %d", pids[0]), fmt.Sprintf("answer: restart w (%d) changed", pids[0]))
	r.exit("w", code(1))
	r.want("restore slot 1: w, pid 0", "slot 1: pid 0", fmt.Sprintf(`LOG: background worker "w type" (PID %d) exited with exit code 1`, pids[0]),
		`DEBUG1: starting background worker process "w"`, "spawn w, slot 1")
	if got := r.slots.Descriptor(1); got != changed {
		t.Errorf("the slot has %+v", got)
	}
	r.started("w")
	r.exit("w", code(1))
	r.trace = nil
	r.reload(named("w"), named("same", of("other"))) // of one that waits, it changes at once
	r.want("restore slot 1: w, pid 0", "answer: start w changed", `DEBUG1: starting background worker process "w"`, "spawn w, slot 1")
}

func TestAStaticWorkerThatIsNotRegisteredAnyMoreEndsForGood(t *testing.T) {
	r, pids := newLibraryRig(t, named("waits", restart(3600)), named("runs", restart(0)), named("stays"))
	r.exit("waits", code(1))
	r.trace = nil
	r.reload(named("stays"))
	r.want("slot 2: pid 0", "release slot 2", `DEBUG1: unregistering background worker "waits"`,
		fmt.Sprintf("SIGTERM to %d", pids[1]), fmt.Sprintf("SIGTERM to %d", pids[2]), fmt.Sprintf("answer: gone waits gone runs (%d) restart stays (%d)", pids[1], pids[2]))
	r.exit("runs", code(1))
	r.want("slot 1: pid 0", "release slot 1", `DEBUG1: unregistering background worker "runs"`, fmt.Sprintf(`LOG: background worker "runs type" (PID %d) exited with exit code 1`, pids[1]))
}

// The postmaster can't take a slot. Whoever does it for a new static worker makes
// it one: it survives a crash, and the next reload knows it.
func TestANewStaticWorkerIsKnownWhenItComes(t *testing.T) {
	r, _ := newLibraryRig(t)
	r.reload(named("new"), named("twin"), named("twin"))
	r.want("answer: new new new twin new twin")
	r.register(named("new", notifying(101)))
	r.register(named("twin"))
	r.register(named("twin", restart(99))) // it is another
	r.started("new")
	r.started("twin")
	r.started("twin")
	r.trace = nil
	r.reload(named("new"), named("twin"), named("twin"))
	// The one that is another is still one of the library's, by its function.
	r.want("SIGTERM to 103", "SIGTERM to 105", "SIGTERM to 104", "answer: restart new (103) restart twin (105) restart twin (104) new twin")
}

// Whoever registers them may die halfway. Each announcement has a number, so that
// nobody does again what was done.
func TestAnAnnouncementStandsUntilItsWorkerComes(t *testing.T) {
	r, _ := newLibraryRig(t)
	show := func() (all string) {
		for _, a := range r.m.Announced() {
			all += fmt.Sprintf("%d %s;", a.Number, a.Worker.Name)
		}
		return all
	}
	r.reload(named("one"), named("two"))
	if got := show(); got != "1 one;2 two;" {
		t.Errorf("announced are %s", got)
	}
	r.register(named("one"))
	if got := show(); got != "2 two;" {
		t.Errorf("announced are %s", got)
	}
	r.slots.claim(named("two")) // of which nobody has told the postmaster yet
	r.trace = nil
	r.reload(named("one"), named("two"), named("three"))
	if got := show(); got != "3 three;" {
		t.Errorf("announced are %s", got)
	}
}

func TestAReloadPairsNamesakesInTheirOrder(t *testing.T) {
	one, two := named("twin", restart(1)), named("twin", restart(2))
	r, pids := newLibraryRig(t, one, two)
	r.reload(one, two)
	r.want(fmt.Sprintf("SIGTERM to %d", pids[0]), fmt.Sprintf("SIGTERM to %d", pids[1]), fmt.Sprintf("answer: restart twin (%d) restart twin (%d)", pids[0], pids[1]))
	r.reload(one)
	r.want(fmt.Sprintf("SIGTERM to %d", pids[1]), fmt.Sprintf("answer: restart twin (%d) gone twin (%d)", pids[0], pids[1]))
}

// A start that hangs meanwhile is of the old file: it is drained when it is there.
func TestAReloadDrainsAStartThatIsUnderWay(t *testing.T) {
	w := named("w")
	r := newRigOf(t, "lib", w)
	r.trace = nil
	r.reload(w)
	r.want("answer: restart w")
	pid := r.started("w")
	r.want(fmt.Sprintf("slot 0: pid %d", pid), fmt.Sprintf("SIGTERM to %d", pid))
	early := killedBy(unix.SIGTERM)
	early.Ready = false
	r.exit("w", early)
	if got := strings.Join(r.trace, "\n"); !strings.HasSuffix(got, "spawn w, slot 0") {
		t.Errorf("got\n%s", got)
	}
}

func TestADrainedWorkerThatIsTerminatedEndsForGood(t *testing.T) {
	r, _ := newLibraryRig(t, named("w"))
	r.reload(named("w"))
	r.terminate(0)
	r.trace = nil
	r.exit("w", code(1))
	if got := strings.Join(r.trace, "\n"); !strings.Contains(got, "release slot 0") || strings.Contains(got, "spawn") {
		t.Errorf("got\n%s", got)
	}
}

func TestAReloadIsRefusedWhenTheHostStops(t *testing.T) {
	const refusal = "answer: the host is shutting down"
	r, _ := newLibraryRig(t, named("w"))
	r.step(postmaster.LibraryReloadRequested{Name: "lib"})
	pid := r.started("lib")
	r.trace = nil
	r.step(postmaster.ShutdownRequested{Mode: postmaster.FastShutdown})
	if got := strings.Join(r.trace, "\n"); !strings.Contains(got, fmt.Sprintf("SIGKILL to %d", pid)) {
		t.Errorf("the Init goes on:\n%s", got)
	}
	r.exit("lib", killedBy(unix.SIGKILL))
	r.trace = nil
	r.reloaded(named("w"))
	r.want(refusal)
	r.step(postmaster.LibraryReloadRequested{Name: "lib"})
	r.want(refusal)
	r.exit("w", code(1))
	r.exit(postmaster.ServerMonitor, code(0))
	if r.world.exits != 1 {
		t.Error("the host does not end")
	}
}

// A start of the preload process that is answered late finds the host stopping.
func TestAStopWaitsForAnInitThatIsBeingStarted(t *testing.T) {
	r, _ := newLibraryRig(t)
	r.step(postmaster.LibraryReloadRequested{Name: "lib"})
	r.step(postmaster.ShutdownRequested{Mode: postmaster.SmartShutdown})
	r.exit(postmaster.ServerMonitor, code(0))
	if r.world.exits != 0 {
		t.Fatal("the host has ended")
	}
	r.trace = nil
	pid := r.started("lib")
	r.want(fmt.Sprintf("SIGKILL to %d", pid))
	r.exit("lib", killedBy(unix.SIGKILL))
	if r.world.exits != 1 {
		t.Error("the host does not end")
	}
}

// A crash cycle makes shared memory anew, so it waits for an Init, which has the
// old one.
func TestACrashCycleEndsAReload(t *testing.T) {
	w := named("w")
	r, _ := newLibraryRig(t, w, named("crashes"))
	r.step(postmaster.Configured{CrashScope: postmaster.CrashScopeCluster, RestartAfterCrash: true})
	r.reload(w, named("crashes"), named("new"))
	r.step(postmaster.LibraryReloadRequested{Name: "lib"})
	pid := r.started("lib")
	r.trace = nil
	r.exit("crashes", code(2))
	if got := strings.Join(r.trace, "\n"); !strings.Contains(got, fmt.Sprintf("SIGQUIT to %d", pid)) {
		t.Errorf("the Init goes on:\n%s", got)
	}
	r.exit("w", code(2))
	r.exit(postmaster.ServerMonitor, code(2))
	if got := strings.Join(r.trace, "\n"); strings.Contains(got, "Reinitialize") {
		t.Error("shared memory was made anew under the preload process")
	}
	r.exit("lib", killedBy(unix.SIGKILL))
	if got := strings.Join(r.trace, "\n"); !strings.Contains(got, "Reinitialize") {
		t.Errorf("got\n%s", got)
	}
	r.started("crashes")
	r.started("w")
	r.trace = nil
	r.reload(w, named("crashes")) // the workers are still known as the library's
	r.want("SIGTERM to 107", "SIGTERM to 106", "answer: restart w (107) restart crashes (106)")
}

func TestAnInitHarmsNobody(t *testing.T) {
	for _, scope := range []postmaster.CrashScope{postmaster.CrashScopeAuto, postmaster.CrashScopeCluster} {
		r, _ := newLibraryRig(t, named("w"))
		r.step(postmaster.Configured{CrashScope: scope, RestartAfterCrash: true})
		r.step(postmaster.LibraryReloadRequested{Name: "lib"})
		pid := r.started("lib")
		r.trace = nil
		end := killedBy(unix.SIGSEGV)
		end.Critical, end.Pid = true, pid
		r.exit("lib", end)
		r.want(fmt.Sprintf("BreakLocks{Pid:%d}", pid))
	}
}

func TestAPreloadProcessThatCannotBeStartedIsTheAnswer(t *testing.T) {
	r, _ := newLibraryRig(t, named("w"))
	r.step(postmaster.LibraryReloadRequested{Name: "lib"})
	r.trace = nil
	r.fail("lib", errNoExec, false)
	r.want("answer: " + errNoExec.Error())
	r.reload(named("w")) // and the next one is served
}
