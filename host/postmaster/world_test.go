package postmaster_test

import (
	"fmt"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
)

// fakeSlots is the slot array in plain memory.
type fakeSlots struct {
	total int64
	slot  []fakeSlot
}

type fakeSlot struct {
	inUse, terminate bool
	pid              int
	generation       uint64
	worker           plugins.BackgroundWorker
}

func newFakeSlots(n int) *fakeSlots {
	return &fakeSlots{total: int64(n), slot: make([]fakeSlot, n)}
}

func (s *fakeSlots) Len() int          { return len(s.slot) }
func (s *fakeSlots) TotalSlots() int64 { return s.total }
func (s *fakeSlots) InUse(i int) bool  { return s.slot[i].inUse }
func (s *fakeSlots) Terminate(i int, gen uint64) bool {
	return s.slot[i].terminate && s.slot[i].generation == gen
}
func (s *fakeSlots) Pid(i int) int                             { return s.slot[i].pid }
func (s *fakeSlots) Generation(i int) uint64                   { return s.slot[i].generation }
func (s *fakeSlots) Descriptor(i int) plugins.BackgroundWorker { return s.slot[i].worker }

// claim mirrors RegisterDynamicBackgroundWorker. It returns -1 if no slot is
// free.
func (s *fakeSlots) claim(w plugins.BackgroundWorker) int {
	for i := range s.slot {
		if !s.slot[i].inUse {
			s.slot[i] = fakeSlot{inUse: true, pid: -1, generation: s.slot[i].generation + 1, worker: w}
			return i
		}
	}
	return -1
}

// world executes commands on what it knows by itself, and finds every breach
// of the invariants of doc.go on the way.
type world struct {
	slots    *fakeSlots
	children map[postmaster.ChildID]*process
	exits    int
	problems []string
}

type process struct {
	slot int // -1 for an auxiliary process
	pid  int // 0: not answered

	spawn postmaster.Spawn
}

func newWorld(slots *fakeSlots) *world {
	return &world{slots: slots, children: map[postmaster.ChildID]*process{}}
}

// execute notes the event, which is what made the machine command cmds, and
// returns what is wrong about them.
func (w *world) execute(ev postmaster.Event, cmds []postmaster.Command) []string {
	w.problems = nil
	switch ev := ev.(type) {
	case postmaster.Spawned:
		if p := w.children[ev.Child]; p != nil && ev.Err == nil {
			p.pid = ev.Pid
		} else {
			delete(w.children, ev.Child)
		}
	case postmaster.Exited:
		delete(w.children, ev.Child)
	}
	for _, cmd := range cmds {
		if w.exits > 0 {
			w.problem("%s after Exit", show(cmd))
		}
		w.run(cmd)
	}
	if w.exits == 0 { // a start given up can still be answered after Exit
		w.checkSlots()
	}
	return w.problems
}

func (w *world) run(cmd postmaster.Command) {
	switch c := cmd.(type) {
	case postmaster.Spawn:
		w.spawn(c)
	case postmaster.Signal:
		if p := w.children[c.Child]; p == nil || p.pid != c.Pid || c.Pid <= 0 {
			w.problem("%s, which is no child", show(c))
		}
	case postmaster.Notify:
		if !w.alive(c.Pid) {
			w.problem("%s, which is no child", show(c))
		}
	case postmaster.InitSlot:
		w.slots.slot[c.Slot] = fakeSlot{inUse: true, pid: -1, worker: c.Worker}
	case postmaster.SetSlotPid:
		w.slots.slot[c.Slot].pid = c.Pid
	case postmaster.ReleaseSlot:
		if s := &w.slots.slot[c.Slot]; !s.inUse || s.pid > 0 {
			w.problem("%s, in use %v, pid %d", show(c), s.inUse, s.pid)
		}
		w.slots.slot[c.Slot].inUse = false
		w.slots.slot[c.Slot].generation = max(c.Generation, w.slots.slot[c.Slot].generation)
	case postmaster.RestoreSlot:
		w.slots.slot[c.Slot] = fakeSlot{inUse: true, terminate: w.slots.slot[c.Slot].terminate, pid: c.Pid, generation: c.Generation, worker: c.Worker}
	case postmaster.Reinitialize:
		if len(w.children) > 0 {
			w.problem("%s with %d children", show(c), len(w.children))
		}
		clear(w.slots.slot)
	case postmaster.Exit:
		w.exits++
	}
}

func (w *world) spawn(c postmaster.Spawn) {
	for _, p := range w.children {
		if c.Aux == "" && c.Preload == "" && p.slot >= 0 && p.pid == 0 {
			w.problem("%s, while another start is unanswered", show(c))
		}
		if p.slot == c.Slot && p.spawn.Aux == c.Aux && p.spawn.Preload == c.Preload {
			w.problem("%s, which has a process", show(c))
		}
	}
	if _, again := w.children[c.Child]; again {
		w.problem("%s: child %d exists", show(c), c.Child)
	}
	w.children[c.Child] = &process{slot: c.Slot, spawn: c}
}

func (w *world) alive(pid int) bool {
	for _, p := range w.children {
		if p.pid == pid && pid > 0 {
			return true
		}
	}
	return false
}

// checkSlots compares the pids in the slots with the processes there are.
func (w *world) checkSlots() {
	running := map[int]int{}
	for _, p := range w.children {
		if p.slot >= 0 && p.pid > 0 {
			running[p.slot] = p.pid
		}
	}
	for i, s := range w.slots.slot {
		if pid := max(0, s.pid); pid != running[i] {
			w.problem("slot %d says pid %d, its process is %d", i, s.pid, running[i])
		}
		if !s.inUse && running[i] != 0 {
			w.problem("slot %d is free, its process is %d", i, running[i])
		}
	}
}

func (w *world) problem(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}
