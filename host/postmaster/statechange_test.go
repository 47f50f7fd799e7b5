package postmaster_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// SPEC 2: the private list is pushed at its head.
func TestSpec2LastRegisteredStaticWorkerGetsSlot0AndStartsFirst(t *testing.T) {
	r := bareRig(t, []plugins.BackgroundWorker{named("first", notifying(7)), named("last")}, "server monitor", "gateway")
	r.step(postmaster.Started{})
	r.want("init slot 0: last", "init slot 1: first",
		"spawn server monitor, slot -1", "spawn gateway, slot -1",
		`DEBUG1: starting background worker process "last"`, "spawn last, slot 0")
	r.started("last")
	r.want("slot 0: pid 101", `DEBUG1: starting background worker process "first"`, "spawn first, slot 1")
	if pid := r.slots.slot[1].worker.NotifyPid; pid != 0 {
		t.Errorf("a static worker notifies %d", pid)
	}
	r.step(postmaster.Started{})
	r.want()
}

// SPEC 3: an unknown slot is copied to the private list.
func TestSpec3RegistersAnUnknownSlot(t *testing.T) {
	r := newRig(t)
	r.register(named("w"))
	r.want("DEBUG1: worker notification PID 0 is not valid", `DEBUG1: registering background worker "w"`,
		`DEBUG1: starting background worker process "w"`, "spawn w, slot 0")
	r.step(postmaster.SlotsChanged{})
	r.want()
}

// SPEC 3: the notify pid counts only if it is a live child of ours.
func TestSpec3NotifyPidMustBeALiveChild(t *testing.T) {
	for _, pid := range []int{4711, 1, -101, math.MinInt32} {
		r := newRig(t)
		r.register(named("w", notifying(pid)))
		r.started("w")
		r.exit("w", code(1))
		for _, line := range r.trace {
			if line[:6] == "notify" {
				t.Errorf("notify pid %d: %s", pid, line)
			}
		}
	}
	r := newRig(t)
	r.register(named("w", notifying(101)))
	r.want(`DEBUG1: registering background worker "w"`, `DEBUG1: starting background worker process "w"`, "spawn w, slot 0")
	r.started("w")
	r.want("slot 0: pid 102", "notify 101")
}

// SPEC 3: a pid that was nobody's when the worker was registered does not
// become valid by being given to a child later.
func TestSpec3AnInvalidNotifyPidStaysInvalid(t *testing.T) {
	r := newRig(t)
	r.register(named("w", notifying(103)))
	r.started("w")
	r.register(named("later"))
	if pid := r.started("later"); pid != 103 {
		t.Fatal("the test assumes 103")
	}
	r.trace = nil
	r.exit("w", code(1))
	r.want("slot 0: pid 0", `LOG: background worker "w type" (PID 102) exited with exit code 1`)
}

// SPEC 8: notifications end with the process that asked for them.
func TestSpec8NotificationsAreCancelledWhenTheProcessExits(t *testing.T) {
	r := newRig(t, named("boss"))
	boss := r.started("boss")
	r.register(named("w", notifying(boss)))
	r.started("w")
	r.exit("boss", code(0))
	r.register(named("heir"))
	r.step(postmaster.Spawned{Child: r.byName["heir"], Pid: boss})
	r.trace = nil
	r.exit("w", code(0))
	r.want("slot 1: pid 0", "release slot 1", `DEBUG1: unregistering background worker "w"`,
		`DEBUG1: background worker "w type" (PID 103) exited with exit code 0`)
}

// SPEC 8: the pid may have been given away before the exit is known.
func TestSpec8NotificationsAreCancelledWhenThePidIsReused(t *testing.T) {
	r := newRig(t, named("boss"))
	boss := r.started("boss")
	r.register(named("w", notifying(boss), restart(0)))
	r.started("w")
	r.register(named("heir"))
	r.step(postmaster.Spawned{Child: r.byName["heir"], Pid: boss})
	r.exit("boss", code(0)) // its news comes late, and takes nothing from the heir
	r.trace = nil
	r.exit("w", code(0))
	r.want("slot 1: pid 0", "release slot 1", `DEBUG1: unregistering background worker "w"`,
		`DEBUG1: background worker "w type" (PID 103) exited with exit code 0`)
	r.register(named("w2", notifying(boss)))
	r.started("w2")
	if last := r.trace[len(r.trace)-1]; last != "notify 102" {
		t.Errorf("got %q, want the heir to be notified", last)
	}
}

// SPEC 3: newly terminate on a known slot.
func TestSpec3TerminateOfAKnownWorker(t *testing.T) {
	t.Run("running: SIGTERM once, and no restart at any exit code", func(t *testing.T) {
		r := newRig(t)
		slot := r.register(named("w", notifying(101)))
		r.started("w")
		r.trace = nil
		r.terminate(slot)
		r.want("SIGTERM to 102")
		r.terminate(slot)
		r.want()
		r.exit("w", code(1))
		r.want("slot 0: pid 0", "release slot 0", `DEBUG1: unregistering background worker "w"`, "notify 101",
			`LOG: background worker "w type" (PID 102) exited with exit code 1`)
	})
	t.Run("waiting to restart: pid 0, forget, notify", func(t *testing.T) {
		r := newRig(t)
		slot := r.register(named("w", notifying(101)))
		r.started("w")
		r.exit("w", code(1))
		r.trace = nil
		r.terminate(slot)
		r.want("slot 0: pid 0", "release slot 0", `DEBUG1: unregistering background worker "w"`, "notify 101")
		r.wantWake(longestSleep)
	})
	t.Run("starting: SIGTERM with the pid", func(t *testing.T) {
		r := newRig(t)
		slot := r.register(named("w", notifying(101)))
		r.trace = nil
		r.terminate(slot)
		r.want()
		r.started("w")
		r.want("slot 0: pid 102", "notify 101", "SIGTERM to 102")
	})
	t.Run("starting, which fails: the waiter is answered", func(t *testing.T) {
		r := newRig(t)
		slot := r.register(named("w", notifying(101)))
		r.terminate(slot)
		r.trace = nil
		r.fail("w", errNoExec, true)
		r.want(`LOG: could not fork background worker process: "/lib/x": no such file or directory`,
			"slot 0: pid 0", "release slot 0", `DEBUG1: unregistering background worker "w"`, "notify 101")
	})
	t.Run("while another start hangs: still forgotten at once", func(t *testing.T) {
		r := newRig(t, named("hangs"))
		slot := r.slots.claim(named("w"))
		r.step(postmaster.SlotsChanged{})
		r.trace = nil
		r.terminate(slot)
		r.want("slot 1: pid 0", "release slot 1", `DEBUG1: unregistering background worker "w"`)
	})
}

// SPEC 3: terminate on an unknown slot gives the slot back.
func TestSpec3TerminateOfAnUnknownSlot(t *testing.T) {
	for name, tt := range map[string]struct {
		worker plugins.BackgroundWorker
		want   []string
	}{
		"plain":             {named("w"), []string{"slot 0: pid 0", "release slot 0"}},
		"parallel, waiter":  {named("w", parallel, notifying(101)), []string{"slot 0: pid 0", "release slot 0 (parallel)", "notify 101"}},
		"waiter is unknown": {named("w", notifying(4711)), []string{"slot 0: pid 0", "release slot 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.terminate(r.slots.claim(tt.worker))
			r.want(tt.want...)
		})
	}
}

// SPEC 3: a slot-count mismatch is logged, and nothing else happens, but that the
// count is put right for the next look.
func TestSpec3SlotCountMismatch(t *testing.T) {
	r := newRig(t)
	r.slots.total = 1 << 40
	r.register(named("w"))
	r.want(`LOG: inconsistent background worker state ("max_worker_processes"=8, total slots=1099511627776)`, "RestoreHeader{}")
	r.slots.total = 8
	r.pass(time.Minute)
	if _, registered := r.byName["w"]; !registered {
		t.Error("the registration is lost")
	}
}

// SPEC 3: no content of shared memory may crash the postmaster, block it or
// make it loop.
func TestSpec3GarbageInASlotIsRefused(t *testing.T) {
	for name, damage := range map[string]func(*plugins.BackgroundWorker){
		"start time too large":   func(w *plugins.BackgroundWorker) { w.StartTime = 3 },
		"start time negative":    func(w *plugins.BackgroundWorker) { w.StartTime = -1 },
		"restart time negative":  restart(-2),
		"restart time too large": restart(plugins.MaxRestartInterval + 1),
		"zeros":                  func(w *plugins.BackgroundWorker) { *w = plugins.BackgroundWorker{NotifyPid: w.NotifyPid} },
		"a flag that is none":    func(w *plugins.BackgroundWorker) { w.Flags |= 1 << 20 },
		"flags that can't be":    func(w *plugins.BackgroundWorker) { w.Flags |= plugins.Interruptible },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.register(named("w", notifying(101), damage))
			r.want("LOG: invalid background worker registration in slot 0", "slot 0: pid 0", "release slot 0", "notify 101")
		})
	}
	r := newRig(t)
	r.register(named("w", restart(plugins.MaxRestartInterval)))
	if len(r.byName) != 2 {
		t.Error("the longest legal restart time was refused")
	}
}

// SPEC 3: no content of shared memory costs the host its workers. What was taken
// from one is given back, and whoever took it finds a stale handle.
func TestSpec3ASlotThatGarbageHasMadeFreeIsGivenBack(t *testing.T) {
	const overwritten = `LOG: slot 0 of shared memory was overwritten | It has been given back to background worker "w".`
	for name, damage := range map[string]func(*fakeSlot){
		"free": func(s *fakeSlot) { s.inUse = false }, "another generation": func(s *fakeSlot) { s.generation = 99 },
		"another pid": func(s *fakeSlot) { s.pid = 1 }, "zeros": func(s *fakeSlot) { *s = fakeSlot{} },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.register(named("w"))
			pid := r.started("w")
			r.trace = nil
			damage(&r.slots.slot[0])
			r.step(postmaster.SlotsChanged{})
			r.want(overwritten, fmt.Sprintf("restore slot 0: w, pid %d", pid))
			r.step(postmaster.SlotsChanged{})
			r.want()
		})
	}
}

func TestSpec3WhoTookASlotThatWasNotFreeIsToldAndHasNoWorker(t *testing.T) {
	r := newRig(t, named("boss"))
	boss := r.started("boss")
	slot := r.register(named("w", restart(never)))
	w := r.started("w")
	r.trace = nil
	r.slots.slot[slot].inUse = false
	if r.slots.claim(named("intruder", notifying(boss))) != slot {
		t.Fatal("it should have taken w's slot")
	}
	intruders := r.slots.slot[slot].generation
	r.slots.slot[slot].terminate = true // by w's handle, or by the intruder's
	r.step(postmaster.SlotsChanged{})
	r.want(`LOG: slot 1 of shared memory was overwritten | It has been given back to background worker "w".`,
		fmt.Sprintf("restore slot 1: w, pid %d", w), fmt.Sprint("notify ", boss))
	r.slots.slot[slot].terminate = false
	r.exit("w", code(0))
	r.register(named("heir"))
	if got := r.slots.slot[slot]; got.worker.Name != "heir" || got.generation <= intruders {
		t.Errorf("got %+v: the intruder's handle, of generation %d, may be another worker's one day", got, intruders)
	}
}

// Nobody need say that he writes garbage.
func TestTheSlotsAreLookedAtOnceAMinute(t *testing.T) {
	r := newRig(t, named("w"))
	pid := r.started("w")
	r.trace = nil
	r.slots.slot[0].inUse = false
	r.slots.claim(named("silent")) // takes the slot, and nobody hears of it
	r.slots.claim(named("too"))
	r.now = r.now.Add(time.Minute - 1)
	if cmds := r.m.Step(r.now, postmaster.Tick{}); len(cmds) > 0 {
		t.Errorf("got %v", cmds)
	}
	r.wantWake(1)
	r.pass(1)
	r.want(`LOG: slot 0 of shared memory was overwritten | It has been given back to background worker "w".`,
		fmt.Sprintf("restore slot 0: w, pid %d", pid), "DEBUG1: worker notification PID 0 is not valid",
		`DEBUG1: registering background worker "too"`, `DEBUG1: starting background worker process "too"`, "spawn too, slot 1")
}

func TestSlotsChangedBeforeStartedIsIgnored(t *testing.T) {
	r := bareRig(t, nil)
	r.register(named("w"))
	r.want()
	r.server(shmem.ServerReadWrite, serverA)
	r.want()
}
