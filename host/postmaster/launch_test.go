package postmaster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

const longestSleep = 60 * time.Second

// SPEC 4: 100 starts a pass; the rest needs a Tick, which is due at once.
func TestSpec4HundredStartsAPass(t *testing.T) {
	var static []plugins.BackgroundWorker
	for i := range 250 {
		static = append(static, named(fmt.Sprint(i)))
	}
	r := newRig(t, static...)
	next := 249
	for _, pass := range []int{100, 100, 50} {
		for range pass {
			r.started(fmt.Sprint(next))
			next--
		}
		if pass == 50 {
			break
		}
		if _, begun := r.byName[fmt.Sprint(next)]; begun {
			t.Fatalf("worker %d was started in the same pass", next)
		}
		r.wantWake(0)
		r.trace = nil
		r.step(postmaster.ReloadRequested{}) // others get their turn first
		if !strings.Contains(r.trace[0], "SIGHUP") {
			t.Errorf("got %q", r.trace[0])
		}
		r.step(postmaster.Tick{})
	}
	r.wantWake(longestSleep)
}

// SPEC 4: a Tick for something else doesn't lengthen a pass, and the count
// begins anew with each.
func TestSpec4AnyPassHasAHundredStarts(t *testing.T) {
	var static []plugins.BackgroundWorker
	for i := range 101 {
		static = append(static, named(fmt.Sprint(i)))
	}
	r := newRig(t, static...)
	for i := 100; i > 0; i-- {
		r.step(postmaster.Tick{})
		r.started(fmt.Sprint(i))
	}
	if _, begun := r.byName["0"]; begun {
		t.Fatal("a Tick within the pass let it go on")
	}
	r.wantWake(0)

	r = newRig(t, static[:99]...)
	for i := 98; i >= 0; i-- {
		r.started(fmt.Sprint(i))
	}
	for i := range 3 {
		name := fmt.Sprint("late ", i)
		r.slots.slot = append(r.slots.slot, fakeSlot{})
		r.slots.total++
		r.register(named(name))
		if _, begun := r.byName[name]; !begun {
			t.Fatalf("worker %q was not started", name)
		}
		r.started(name)
	}
}

// SPEC 4: at most one start is unanswered; other events are served meanwhile.
func TestSpec4AHangingStartHoldsUpOnlyStarts(t *testing.T) {
	r := newRig(t, named("third"), named("hangs"), named("first"))
	first := r.started("first")
	r.trace = nil
	r.exit("first", code(1))
	r.want("slot 0: pid 0", fmt.Sprintf(`LOG: background worker "first type" (PID %d) exited with exit code 1`, first))
	r.wantWake(longestSleep)
	r.pass(longestSleep)
	r.want()
	r.started("hangs")
	r.want("slot 1: pid 103", `DEBUG1: starting background worker process "first"`, "spawn first, slot 0")
	r.started("first")
	r.want("slot 0: pid 104", `DEBUG1: starting background worker process "third"`, "spawn third, slot 2")
}

// SPEC 4: permanent failures count as exit 1 at once.
func TestSpec4PermanentStartFailure(t *testing.T) {
	t.Run("is logged with the executable, detail and hint", func(t *testing.T) {
		r := newRig(t, named("w"))
		r.trace = nil
		err := elog.New(elog.Error, elog.UndefinedFile, "\"/lib/x\": permission denied").WithDetail("Detail.").WithHint("Hint.")
		for _, cmd := range r.m.Step(r.now, postmaster.Spawned{Child: r.byName["w"], Err: err}) {
			if l, ok := cmd.(postmaster.Log); ok && (l.Level != elog.Log || l.Hint != "Hint." ||
				l.Message != `could not fork background worker process: "/lib/x": permission denied`) {
				t.Errorf("got %+v", l.ErrorData)
			}
		}
		if err.Level != elog.Error {
			t.Error("the shell's error was changed")
		}
	})
	t.Run("restarts after the delay, the waiter is told", func(t *testing.T) {
		r := newRig(t)
		r.register(named("w", notifying(101)))
		r.trace = nil
		r.fail("w", errNoExec, false)
		r.want(`LOG: could not fork background worker process: "/lib/x": no such file or directory`, "slot 0: pid 0", "notify 101")
		r.wantWake(0) // the failure ended the pass
		r.pass(0)
		r.want()
		r.wantWake(5 * time.Second)
		r.pass(5*time.Second - 1)
		r.want()
		r.pass(1)
		r.want(`DEBUG1: starting background worker process "w"`, "spawn w, slot 0")
	})
	t.Run("never-restart is forgotten, the waiter is told", func(t *testing.T) {
		r := newRig(t)
		r.register(named("w", parallel, notifying(101)))
		r.trace = nil
		r.fail("w", errNoExec, false)
		r.want(`LOG: could not fork background worker process: "/lib/x": no such file or directory`,
			"slot 0: pid 0", "release slot 0 (parallel)", `DEBUG1: unregistering background worker "w"`, "notify 101")
	})
	t.Run("restart time 0 is no hot loop", func(t *testing.T) {
		r := newRig(t, named("w", restart(0)))
		r.fail("w", errNoExec, false)
		r.pass(0)
		r.wantWake(time.Second)
		r.trace = nil
		r.pass(time.Second - 1)
		r.want()
		r.pass(1)
		r.started("w")
		r.exit("w", code(1)) // but an exit may be followed by a start at once
		if last := r.trace[len(r.trace)-1]; last != "spawn w, slot 0" {
			t.Errorf("got %q", last)
		}
	})
}

// SPEC 4: a failed start ends the pass; the next begins at the next Tick.
func TestSpec4FailedStartEndsThePass(t *testing.T) {
	r := newRig(t, named("second"), named("first"))
	r.fail("first", errNoExec, false)
	r.register(named("third"))
	if _, begun := r.byName["second"]; begun {
		t.Fatal("the pass went on")
	}
	r.wantWake(0)
	r.trace = nil
	r.pass(0)
	r.want(`DEBUG1: starting background worker process "third"`, "spawn third, slot 2")
	r.started("third")
	r.want("slot 2: pid 102", `DEBUG1: starting background worker process "second"`, "spawn second, slot 1")
}

// SPEC 4: transient failures are retried with back-off for 10 s, then fail.
func TestSpec4TransientStartFailure(t *testing.T) {
	r := newRig(t)
	r.register(named("w", restart(never), notifying(101)))
	r.trace = nil
	r.fail("w", errNoExec, true)
	r.want(`LOG: could not fork background worker process: "/lib/x": no such file or directory`)
	for i, ms := range []time.Duration{100, 100, 200, 400, 800, 1600, 3200, 3600} {
		r.pass(0)
		r.wantWake(ms * time.Millisecond)
		r.pass(ms*time.Millisecond - 1)
		r.want()
		r.pass(1)
		r.want(`DEBUG1: starting background worker process "w"`, "spawn w, slot 0")
		r.fail("w", errNoExec, true)
		if i < 7 {
			r.want()
		}
	}
	r.want(`LOG: could not fork background worker process: "/lib/x": no such file or directory`,
		"slot 0: pid 0", "release slot 0", `DEBUG1: unregistering background worker "w"`, "notify 101")
	if past := r.now.Sub(epoch).Round(time.Millisecond); past != 10*time.Second {
		t.Errorf("gave up after %v", past)
	}
}

// SPEC 4: the 10 seconds are those of one start, not of a life.
func TestSpec4TransientFailuresAreForgivenByAStart(t *testing.T) {
	r := newRig(t, named("w", restart(20)))
	r.fail("w", errNoExec, true)
	r.pass(0)
	r.pass(100 * time.Millisecond)
	r.started("w")
	r.exit("w", code(1))
	r.pass(20 * time.Second)
	r.fail("w", errNoExec, true)
	r.pass(0)
	r.wantWake(100 * time.Millisecond)
	r.pass(10 * time.Second)
	r.fail("w", errNoExec, true) // is the last one; the next start has 10 s again
	r.pass(0)
	r.wantWake(20 * time.Second)
	r.pass(20 * time.Second)
	r.fail("w", errNoExec, true)
	r.pass(0)
	r.wantWake(100 * time.Millisecond)
}

// SPEC 4 and 1: the restart delay, in 64 bits.
func TestSpec4RestartDelay(t *testing.T) {
	for _, seconds := range []int{0, 1, 59, 60, 61, plugins.MaxRestartInterval} {
		t.Run(fmt.Sprint(seconds), func(t *testing.T) {
			r := newRig(t, named("w", restart(seconds)))
			r.started("w")
			r.exit("w", code(1))
			delay := time.Duration(seconds) * time.Second
			if seconds > 0 {
				r.wantWake(min(delay, longestSleep))
				r.trace = nil
				r.pass(delay - 1)
				r.want()
				r.wantWake(1)
				r.pass(1)
			}
			if last := r.trace[len(r.trace)-1]; last != "spawn w, slot 0" {
				t.Errorf("got %q", last)
			}
		})
	}
}

// SPEC 5: the table.
func TestSpec5StartTimes(t *testing.T) {
	states := []shmem.ServerState{shmem.ServerUnreachable, shmem.ServerStarting, shmem.ServerStandby, shmem.ServerReadWrite}
	for _, tt := range []struct {
		at   plugins.StartTime
		from int // the first state that admits it
	}{
		{plugins.StartAtPostmasterStart, 0}, {plugins.StartAtConsistentState, 2}, {plugins.StartAtRecoveryFinished, 3},
	} {
		for i, state := range states {
			t.Run(fmt.Sprintf("%v, %v", tt.at, state), func(t *testing.T) {
				r := newRig(t)
				r.server(state, serverA)
				r.register(named("w", func(w *plugins.BackgroundWorker) { w.StartTime = tt.at }))
				_, begun := r.byName["w"]
				if begun != (i >= tt.from) {
					t.Errorf("started: %v", begun)
				}
				r.step(postmaster.ShutdownRequested{Mode: postmaster.FastShutdown})
				r.register(named("late", func(w *plugins.BackgroundWorker) { w.StartTime = tt.at }))
				if _, begun := r.byName["late"]; begun {
					t.Error("started while stopping")
				}
			})
		}
	}
}

// SPEC 5: a state change starts workers, and never stops one.
func TestSpec5StateChanges(t *testing.T) {
	r := newRig(t, named("w", database))
	r.server(shmem.ServerStandby, serverA)
	r.want(`DEBUG1: starting background worker process "w"`, "spawn w, slot 0")
	r.started("w")
	r.trace = nil
	r.server(shmem.ServerUnreachable, serverA)
	r.want()
	r.exit("w", code(1))
	r.pass(time.Hour)
	r.wantWake(longestSleep) // the delay is over, but time alone does not help
	r.trace = nil
	r.server(shmem.ServerReadWrite, serverA)
	r.want(`DEBUG1: starting background worker process "w"`, "spawn w, slot 0")
}
