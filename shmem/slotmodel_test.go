package shmem_test

import (
	"fmt"
	"hash/maphash"
	"strings"
)

// A model of the slot protocol, small enough to try out every interleaving:
// two slots, one postmaster, two backends. Each load and each store of the code
// is one atomic step (Go's atomics are sequentially consistent, so interleaving
// is all that can happen to them); the descriptor, which is no atomic, is two
// stores and two loads. The programs are in slotmodel_programs_test.go and
// slotmodel_processes_test.go; a test compares their steps with the code.
//
// State has shared memory, what each process has in its own, and the truth,
// which no process sees, and which the invariants compare with what they see.
// It is comparable, so that a map of it remembers where the search has been.
type state struct {
	// Shared memory.
	slot              [modelSlots]modelSlot
	lock              uint8 // 0, or the holder + 1
	registered, ended uint8 // of parallel workers, counting modulo countWrap
	note, ring        uint8 // the postmaster signal and the alarm
	changed           [modelSlots]bool
	latch             [modelBackends]uint8

	backend    [modelBackends]modelBackend
	child      [modelSlots]modelChild
	postmaster modelPostmaster

	thefts uint8 // that garbage has still in store: it makes a slot free that is not
	stolen bool  // it has

	// The truth.
	claim  [maxClaims]modelClaim // by claim id - 1
	claims uint8
	owner  [modelSlots]uint8 // the claim the slot was handed over for
}

const (
	modelSlots    = 2
	modelBackends = 2
	maxClaims     = 6
	countWrap     = 4
	parallelCap   = 1
)

type modelSlot struct {
	inUse, terminate, gate, pid, generation uint8
	name, rest                              uint8 // the descriptor's halves: the claim they were written for
}

// Pids of the model: beside these, each start of a claim's worker has its own.
const (
	pidDead    = 0
	pidInvalid = 1
)

func pidOf(claim, run uint8) uint8 { return 2*claim + run }

type modelBackend struct {
	op    operation
	pc    uint8
	left  uint8 // operations to come
	claim uint8 // the one it makes, or the one it has a handle of
	slot  uint8
	val   uint8
	fail  bool
	sure  bool  // the claim was terminated before the operation began
	truth uint8 // set of statuses the claim's worker has had since
}

type modelPostmaster struct {
	mode      mode
	pc        uint8
	slot      uint8
	name      uint8
	known     [modelSlots]uint8 // claim
	gen, pid  [modelSlots]uint8 // what the slot of a known claim should say
	restore   [modelSlots]bool  // it does not
	terminate [modelSlots]bool
	plan      [modelSlots]plan
	claim     [modelSlots]uint8 // whom the plan is for
	stopping  bool
	look      [modelSlots]bool // the slots that the scan looks at
}

// modelClaim is the truth about one registration.
type modelClaim struct {
	slot, generation, by uint8
	parallel             bool
	phase, before        phase // before: while shared memory may still say so
	asked, granted       bool  // somebody began to, has terminated it
	killed               bool  // its process got SIGTERM
	out                  bool  // its handle is known
	mayPass, released    bool  // somebody began to, has released it, who may have come before its termination
}

// phase is what a worker really is.
type phase uint8

const (
	phaseNone phase = iota
	phaseRegistered
	phaseRunning
	phaseWaiting
	phaseRunningAgain
	phaseGone
)

// Statuses, as bits.
const (
	sawNotStarted = 1 << iota
	sawRunning
	sawRunningAgain
	sawStopped
)

func (p phase) status() uint8 {
	return [...]uint8{phaseNone: 0, phaseRegistered: sawNotStarted, phaseRunning: sawRunning, phaseWaiting: sawStopped, phaseRunningAgain: sawRunningAgain, phaseGone: sawStopped}[p]
}

func (p phase) running() bool { return p == phaseRunning || p == phaseRunningAgain }

// become begins a change of phase: the old one is over when it has been
// reported.
func (c *modelClaim) become(p phase) { c.before, c.phase = c.phase, p }

func (s *state) of(id uint8) *modelClaim { return &s.claim[id-1] }

// holds reports whether a claim has its slot, as shared memory shows it.
func (s *state) holds(id uint8) bool {
	slot := s.of(id).slot
	return s.owner[slot] == id && s.slot[slot].inUse != 0
}

func (s *state) parallel(in func(id uint8) bool) (n uint8) {
	for id := uint8(1); id <= s.claims; id++ {
		if s.of(id).parallel && in(id) {
			n++
		}
	}
	return n
}

func (s *state) count() uint8 { return (s.registered - s.ended) % countWrap }

// remember adds the present status of each worker to what a look at it may
// return.
func (s *state) remember() {
	for b := range s.backend {
		if be := &s.backend[b]; be.op.looks() {
			c := s.of(be.claim)
			be.truth |= c.phase.status() | c.before.status()
		}
	}
}

// always is what holds in every state, beside what the steps themselves check.
func (s *state) always() string {
	if n := s.count(); n > modelSlots {
		return fmt.Sprintf("counters: %d parallel workers are registered, modulo %d", n, countWrap)
	}
	alive := func(id uint8) bool { p := s.of(id).phase; return p != phaseNone && p != phaseGone }
	if n := s.parallel(alive); n > parallelCap {
		return fmt.Sprintf("counters: %d parallel workers, the cap is %d", n, parallelCap)
	}
	return ""
}

// quiescent is what holds when nobody can go on, but for workers that start or
// exit in their own time.
func (s *state) quiescent() string {
	if s.lock != 0 {
		return "lock: it is held for ever"
	}
	for i := range s.slot {
		if s.slot[i].inUse != 0 && s.postmaster.known[i] != s.owner[i] {
			return "lost registration: the postmaster does not know of it"
		}
	}
	if violation := s.restored(); violation != "" {
		return violation
	}
	for id := uint8(1); id <= s.claims; id++ {
		if c := s.of(id); c.granted && c.phase != phaseGone && (!c.phase.running() || !c.killed) {
			return "lost termination: the worker was told nothing"
		}
	}
	if violation := s.gates(); violation != "" {
		return violation
	}
	if n := s.parallel(s.holds); s.count() != n {
		return fmt.Sprintf("counters: %d parallel workers counted, %d there", s.count(), n)
	}
	for b := range s.backend {
		be := &s.backend[b]
		if be.op != opAwaitStart && be.op != opAwaitEnd {
			continue
		}
		c := s.of(be.claim)
		if be.op == opAwaitStart && c.phase != phaseRegistered || c.phase == phaseGone || c.phase == phaseWaiting && !c.granted {
			return "lost wake-up: who waits for a worker sleeps, and the wait is over"
		}
	}
	return ""
}

// search walks through all interleavings, depth first.
type search struct {
	model *model
	seeds [2]maphash.Seed
	seen  map[[2]uint64]struct{} // by hash: 128 bits tell any number of states apart
	path  []transition
	found string // the first violation
}

// explore returns the number of states, and the first violation with the steps
// that lead to it.
func (m *model) explore() (states int, violation string, path []string) {
	s := search{model: m, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, seen: make(map[[2]uint64]struct{})}
	s.visit(m.initial())
	for _, t := range s.path {
		path = append(path, t.String())
	}
	return len(s.seen), s.found, path
}

// visit returns false once a violation was found.
func (s *search) visit(from state) bool {
	key := [2]uint64{maphash.Comparable(s.seeds[0], from), maphash.Comparable(s.seeds[1], from)}
	if _, known := s.seen[key]; known {
		return true
	}
	s.seen[key] = struct{}{}
	busy := false
	for _, t := range s.model.transitions(&from) {
		to := from
		s.path = append(s.path, t)
		violation := t.take(&to)
		if violation == blocked {
			s.path = s.path[:len(s.path)-1]
			continue
		}
		busy = busy || !t.spontaneous
		to.remember()
		if violation == "" {
			violation = to.always()
		}
		if violation != "" {
			s.found = violation
			return false
		}
		if !s.visit(to) {
			return false
		}
		s.path = s.path[:len(s.path)-1]
	}
	if !busy {
		s.found = from.quiescent()
	}
	return s.found == ""
}

// blocked is what a step returns that cannot be taken now.
const blocked = "blocked"

// transition is one thing that can happen next.
type transition struct {
	label       string
	by          int  // a backend, or postmasterActs
	spontaneous bool // it need never happen
	take        func(*state) (violation string)
}

const (
	postmasterActs = -1
	childActs      = -2
)

func (t transition) String() string {
	switch t.by {
	case postmasterActs:
		return "postmaster: " + t.label
	case childActs:
		return t.label
	}
	return fmt.Sprintf("backend %d: %s", t.by, t.label)
}

func describe(violation string, path []string) string {
	return violation + "\n\t" + strings.Join(path, "\n\t")
}
