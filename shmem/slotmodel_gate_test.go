package shmem_test

import (
	"fmt"
	"slices"
)

// The model's gates: in some worlds every worker is held. Its process waits
// before main until somebody has opened the gate, and sleeps on its latch in
// between. (The real one looks once a second, too: here nothing may depend on
// that.) A worker that is restarted is held by the same gate.

// modelChild is the process of a held worker.
type modelChild struct {
	claim, pc uint8
	latch     uint8
	open      bool // as far as it has looked
	passed    bool // main runs
}

// spawned is what the postmaster does before the process of a held worker exists:
// it resets its record.
func (m *model) spawned(s *state, slot int) {
	if m.held {
		s.child[slot] = modelChild{claim: s.postmaster.claim[slot], open: true}
	}
}

// openProgram is BackendSlots.OpenGate and WakeAtGate.
func openProgram() program {
	return program{
		lockStep,
		{name: "generation.Load", do: func(s *state, b int) (next, string) {
			c := s.of(s.backend[b].claim)
			if s.slot[c.slot].generation == c.generation {
				return advance, ""
			}
			if c.phase != phaseGone {
				return failing, lostRelease + ": it is taken for another's, and is not"
			}
			return failing, ""
		}},
		store("gate.Store", func(s *state, be *modelBackend) {
			c := s.of(be.claim)
			s.slot[c.slot].gate = c.generation
		}),
		unlockStep,
		store("pid.Load", func(s *state, be *modelBackend) { be.val = s.slot[s.of(be.claim).slot].pid }),
		store("Set", func(s *state, be *modelBackend) {
			for i := range s.child {
				ch := &s.child[i]
				if ch.claim != 0 && be.val == s.pid(ch.claim) {
					ch.latch = 1
				}
			}
		}),
	}
}

// pid is that of a claim's worker, which runs.
func (s *state) pid(id uint8) uint8 {
	if s.of(id).phase == phaseRunning {
		return pidOf(id, 0)
	}
	return pidOf(id, 1)
}

// What the model says of gates that let through whom they should not.
const (
	notReleased = "gate: main runs, and nobody has released its worker in time"
	lostRelease = "lost release"
)

// gateProgram is gate.pass: BackendSlots.MayPass, and the sleep between two of
// its looks. A step's number is the slot.
func gateProgram() program {
	step := func(name string, do func(slot *modelSlot, ch *modelChild, c *modelClaim)) step {
		return step{name: name, do: func(s *state, i int) (next, string) {
			do(&s.slot[i], &s.child[i], s.of(s.child[i].claim))
			return advance, ""
		}}
	}
	p := program{
		step("gate.Load", func(slot *modelSlot, ch *modelChild, c *modelClaim) { ch.open = ch.open && slot.gate == c.generation }),
		step("terminate.Load", func(slot *modelSlot, ch *modelChild, c *modelClaim) {
			ch.open = ch.open && slot.terminate != c.generation
		}),
	}
	return append(p,
		program{
			{name: "is open", local: true, do: func(s *state, i int) (next, string) {
				switch ch := &s.child[i]; {
				case !ch.open:
					return advance, ""
				case !s.of(ch.claim).mayPass:
					return finish, notReleased
				default:
					ch.passed = true
					return finish, ""
				}
			}},
			{name: "WaitLatch", do: func(s *state, i int) (next, string) {
				if s.child[i].latch == 0 {
					return wait, ""
				}
				return advance, ""
			}},
			{name: "ResetLatch", do: func(s *state, i int) (next, string) {
				s.child[i].latch, s.child[i].open = 0, true
				return again, ""
			}},
		}...)
}

// childSteps are what processes at their gates can do. They begin when the
// postmaster has told them who they are, which it does after it has published
// their pids.
func (m *model) childSteps(s *state) (ts []transition) {
	for i := range s.child {
		ch := &s.child[i]
		if ch.claim == 0 || ch.passed || s.postmaster.plan[i] == planStart && !m.beginsEarly {
			continue
		}
		label := fmt.Sprintf("child in slot %d: %s", i, m.gate[ch.pc].name)
		ts = append(ts, transition{label, childActs, false, func(s *state) string { return m.childStep(s, i) }})
	}
	return ts
}

func (m *model) childStep(s *state, i int) string {
	ch := &s.child[i]
	for first := true; first || m.gate[ch.pc].local; first = false {
		ch.pc++
		then, violation := m.gate[ch.pc-1].do(s, i)
		switch {
		case violation != "":
			return violation
		case then == wait:
			return blocked
		case then == again:
			ch.pc = 0
			return ""
		case then == finish:
			return ""
		}
	}
	return ""
}

// gates is what holds of them when nobody can go on.
func (s *state) gates() string {
	for i := range s.child {
		ch := &s.child[i]
		if ch.claim == 0 || ch.passed {
			continue
		}
		if c := s.of(ch.claim); c.released && !c.asked {
			return lostRelease + ": the worker waits at a gate that was opened"
		}
	}
	return ""
}

// The protocols of a gate that are not ours.
func gateMutations() []mutation {
	const lost, early = "^" + lostRelease, "^" + notReleased
	changeGate := func(m *model, f func(program) program) { m.gate = f(m.gate) }
	all := reorderings("gate, OpenGate", []string{"gate.Store", "unlock", "pid.Load", "Set"},
		map[string]string{"gate.Store": lost, "pid.Load": lost},
		func(delayed, _ string) bool { return delayed == "unlock" }, change(opRelease))
	all = append(all, reorderings("gate, MayPass", []string{"gate.Load", "terminate.Load"},
		map[string]string{"gate.Load": early}, nil, changeGate)...)
	without := func(name, found string, from func(m *model, f func(program) program), steps ...string) {
		all = append(all, mutation{"gate: without " + name, func(m *model) {
			from(m, func(p program) program {
				for _, st := range steps {
					p = p.without(st)
				}
				return p
			})
		}, found})
	}
	without("lock", lost, change(opRelease), "lock", "unlock")
	without("generation.Load", lost, change(opRelease), "generation.Load")
	without("Set", lost, change(opRelease), "Set")
	without("gate.Load", early, changeGate, "gate.Load")
	without("terminate.Load", early, changeGate, "terminate.Load")
	// A word that says no more than open or not: then Claim has to close it.
	shut := func(after int) func(m *model) {
		return func(m *model) {
			p := m.backend[opClaim]
			m.backend[opClaim] = slices.Insert(slices.Clone(p), p.index("inUse.Store")+after, step{name: "gate.Store", do: func(s *state, b int) (next, string) {
				s.own(&s.backend[b]).gate = 0
				return advance, ""
			}})
			m.gate[m.gate.index("gate.Load")].do = anyOpening
		}
	}
	return append(all,
		mutation{"gate: it stands open for whoever has the slot next", func(m *model) {
			m.gate[m.gate.index("gate.Load")].do = anyOpening
		}, early},
		mutation{"gate: it is closed before the store to in_use", shut(0), ""},
		mutation{"gate: it is closed behind the store to in_use", shut(1), anyOf(early, lost)},
		mutation{"gate: the latch is reset after the look", func(m *model) {
			early := step{name: "ResetLatch before", do: func(s *state, i int) (next, string) { s.child[i].latch = 0; return advance, "" }}
			m.gate = slices.Insert(m.gate, m.gate.index("WaitLatch"), early)
		}, lost},
		mutation{"gate: a process begins before its pid is known", func(m *model) { m.beginsEarly = true }, lost},
	)
}

// anyOpening is a look at a gate that does not tell for whom it was opened.
func anyOpening(s *state, i int) (next, string) {
	s.child[i].open = s.child[i].open && s.slot[i].gate != 0
	return advance, ""
}
