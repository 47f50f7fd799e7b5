package shmem_test

import (
	"fmt"
	"slices"
)

// operation is what a backend does.
type operation uint8

const (
	opNone operation = iota
	opClaim
	opClaimParallel
	opLook
	opTerminate
	opAwaitStart
	opAwaitEnd
	opRelease
	numOperations
)

func (o operation) claims() bool { return o == opClaim || o == opClaimParallel }

func (o operation) looks() bool { return o == opLook || o == opAwaitStart || o == opAwaitEnd }

func (o operation) String() string {
	return [...]string{"none", "Claim", "Claim, parallel", "Pid", "RequestTermination", "await start", "await end", "OpenGate"}[o]
}

// step is one atomic step of a program. It returns what to do next, and what it
// found wrong.
type step struct {
	name  string
	do    func(s *state, who int) (next, string)
	local bool // it touches nothing that others see, and is one with the step before
}

type next int

const (
	advance next = iota
	wait         // it cannot be taken now
	finish       // the program is over
	failing      // let go of the lock, then finish
	again        // from the beginning
)

type program []step

// without returns the program without a step, after returns it with a step
// moved behind another: the mutations.
func (p program) without(name string) program {
	i := p.index(name)
	return slices.Delete(slices.Clone(p), i, i+1)
}

func (p program) after(name, other string) program {
	moved := p[p.index(name)]
	q := p.without(name)
	return slices.Insert(q, q.index(other)+1, moved)
}

func (p program) index(name string) int {
	i := slices.IndexFunc(p, func(st step) bool { return st.name == name })
	if i < 0 {
		panic("no step " + name)
	}
	return i
}

// store makes a step of an assignment that cannot fail.
func store(name string, do func(s *state, be *modelBackend)) step {
	return step{name: name, do: func(s *state, b int) (next, string) { do(s, &s.backend[b]); return advance, "" }}
}

func (s *state) own(be *modelBackend) *modelSlot { return &s.slot[be.slot] }

var lockStep = step{name: "lock", do: func(s *state, b int) (next, string) {
	if s.lock != 0 {
		return wait, ""
	}
	s.lock = uint8(b) + 1
	return advance, ""
}}

var unlockStep = store("unlock", func(s *state, _ *modelBackend) { s.lock = 0 })

// signalSteps are SendSlotChange.
var signalSteps = program{
	store("changes.Or", func(s *state, be *modelBackend) { s.changed[s.of(be.claim).slot] = true }),
	store("pmSignals.Store", func(s *state, _ *modelBackend) { s.note = 1 }),
	store("Ring", func(s *state, _ *modelBackend) { s.ring = 1 }),
}

// counting is what a claim's val is from while it counts parallel workers.
const counting = 100

// claimProgram is BackendSlots.Claim and the waking of the postmaster.
func claimProgram() program {
	look := func(i uint8) step {
		return step{name: fmt.Sprint("inUse.Load ", i), do: func(s *state, b int) (next, string) {
			be := &s.backend[b]
			switch {
			case be.claim != 0: // it has found a slot
			case s.slot[i].inUse == 0:
				s.claims++
				be.claim, be.slot = s.claims, i
				*s.of(be.claim) = modelClaim{slot: i, by: uint8(b), parallel: be.op == opClaimParallel}
			case i == modelSlots-1:
				return failing, ""
			}
			return advance, ""
		}}
	}
	// sure becomes true if at no moment of the count there are too many.
	recount := func(i uint8) step {
		return step{name: fmt.Sprintf("inUse.Load %d again", i), do: func(s *state, b int) (next, string) {
			be := &s.backend[b]
			be.sure = s.parallel(s.holds) < parallelCap && (i == 0 || be.sure)
			if slot := s.slot[i]; be.val >= counting && slot.inUse != 0 && s.of(slot.rest).parallel {
				be.val++
			}
			return advance, ""
		}}
	}
	return append(program{
		lockStep,
		{name: "parallelRegister.Load parallelTerminate.Load", do: func(s *state, b int) (next, string) {
			be := &s.backend[b]
			if be.op == opClaimParallel && s.count() >= parallelCap {
				be.val = counting
			} else {
				be.pc += modelSlots // nothing is counted
			}
			return advance, ""
		}},
		recount(0), recount(1),
		{name: "cap", local: true, do: func(s *state, b int) (next, string) {
			be := &s.backend[b]
			switch {
			case be.val < counting+parallelCap:
				be.val = 0
				return advance, ""
			case be.sure:
				return failing, "cap: a worker was refused, and not that many are there"
			}
			return failing, ""
		}},
		look(0), look(1),
		store("worker.store, first half", func(s *state, be *modelBackend) { s.own(be).name = be.claim }),
		store("worker.store, second half", func(s *state, be *modelBackend) { s.own(be).rest = be.claim }),
		store("pid.Store", func(s *state, be *modelBackend) { s.own(be).pid = pidInvalid }),
		store("generation.Add", func(s *state, be *modelBackend) {
			s.own(be).generation++
			s.of(be.claim).generation = s.own(be).generation
		}),
		store("parallelRegister.Add", func(s *state, be *modelBackend) {
			if be.op == opClaimParallel {
				s.registered = (s.registered + 1) % countWrap
			}
		}),
		{name: "inUse.Store", do: func(s *state, b int) (next, string) {
			be := &s.backend[b]
			return advance, s.handOver(be)
		}},
		unlockStep,
	}, signalSteps...)
}

// lookProgram is BackendSlots.Pid.
func lookProgram() program {
	return program{
		store("pid.Load", func(s *state, be *modelBackend) { be.val = s.slot[s.of(be.claim).slot].pid }),
		{name: "inUse.Load", do: func(s *state, b int) (next, string) {
			if be := &s.backend[b]; s.slot[s.of(be.claim).slot].inUse == 0 {
				be.val = pidDead
			}
			return advance, ""
		}},
		{name: "generation.Load", do: func(s *state, b int) (next, string) {
			be := &s.backend[b]
			if c := s.of(be.claim); s.slot[c.slot].generation != c.generation {
				be.val = pidDead
			}
			return advance, ""
		}},
		{name: "status", local: true, do: func(s *state, b int) (next, string) {
			be := &s.backend[b]
			var saw uint8
			if s.stolen { // until the postmaster has looked, anything may show
				return finish, ""
			}
			switch be.val {
			case pidDead:
				saw = sawStopped
			case pidInvalid:
				saw = sawNotStarted
			case pidOf(be.claim, 0):
				saw = sawRunning
			case pidOf(be.claim, 1):
				saw = sawRunningAgain
			default:
				return finish, "pid of another worker"
			}
			if be.truth&saw == 0 {
				return finish, "status that the worker never had while it was asked for"
			}
			return finish, ""
		}},
	}
}

// terminateProgram is BackendSlots.RequestTermination and the waking of the
// postmaster.
func terminateProgram() program {
	return append(program{
		lockStep,
		{name: "generation.Load", do: func(s *state, b int) (next, string) {
			c := s.of(s.backend[b].claim)
			if s.slot[c.slot].generation == c.generation {
				return advance, ""
			}
			if c.phase != phaseGone && !s.stolen {
				return failing, "lost termination: it is taken for another's, and is not"
			}
			return failing, ""
		}},
		store("terminate.Store", func(s *state, be *modelBackend) {
			c := s.of(be.claim)
			s.slot[c.slot].terminate = c.generation
		}),
		unlockStep,
	}, signalSteps...)
}

// awaitProgram is WaitForBackgroundWorkerStartup or -Shutdown: looks, until what
// they see is what is waited for, and sleeps on the latch in between.
func awaitProgram(end bool) program {
	p := lookProgram()
	status := p[len(p)-1].do
	p[len(p)-1].do = func(s *state, b int) (next, string) {
		_, violation := status(s, b)
		be := &s.backend[b]
		be.truth = 0 // the next look is another
		be.fail = be.val == pidInvalid || end && be.val != pidDead
		if !end && !be.fail {
			return finish, violation
		}
		return advance, violation
	}
	if end {
		flag := func(name string, holds func(s *state, c *modelClaim) bool) step {
			return step{name: name, do: func(s *state, b int) (next, string) {
				be := &s.backend[b]
				if !holds(s, s.of(be.claim)) {
					be.val = pidInvalid // no longer pidDead: it is not terminating
				}
				return advance, ""
			}}
		}
		p = append(p,
			flag("terminate.Load", func(s *state, c *modelClaim) bool { return s.slot[c.slot].terminate == c.generation }),
			flag("inUse.Load again", func(s *state, c *modelClaim) bool { return s.slot[c.slot].inUse != 0 }),
			flag("generation.Load again", func(s *state, c *modelClaim) bool { return s.slot[c.slot].generation == c.generation }),
			step{name: "is over", local: true, do: func(s *state, b int) (next, string) {
				be := &s.backend[b]
				switch {
				case be.fail, be.val == pidDead:
					return advance, ""
				case be.sure && s.holds(be.claim):
					return finish, "slot: the end of a terminated worker was waited for, and its slot is taken"
				}
				return finish, ""
			}})
	}
	return append(p,
		step{name: "WaitLatch", do: func(s *state, b int) (next, string) {
			s.backend[b].val, s.backend[b].fail = 0, false
			if s.latch[b] == 0 {
				return wait, ""
			}
			return advance, ""
		}},
		step{name: "ResetLatch", do: func(s *state, b int) (next, string) {
			s.latch[b], s.backend[b].truth = 0, 0
			return again, ""
		}},
	)
}
