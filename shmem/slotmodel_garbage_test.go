package shmem_test

// The model's garbage: the slot of a worker that runs looks free from some moment
// on, and whoever registers a worker may take it. The postmaster restores it. As
// long as the worker runs, the slot is its own again in the end, nobody's request
// ends it but those that mean it, and the handle of whoever took the slot stands
// for nobody, for ever.
//
// One thing the model leaves out: that the worker ends, and its slot is released
// for good, within the few stores of a claim that the garbage has let in. What is
// registered then may be torn. The host treats that as any other garbage.

// skipped is how many generations are left out behind a slot that was restored.
const skipped = 8

// garbage is what anybody may write who has the segment.
func (s *state) garbage() (ts []transition) {
	if s.thefts == 0 {
		return nil
	}
	for i := range s.slot {
		if id := s.postmaster.known[i]; id != 0 && s.slot[i].inUse != 0 && s.of(id).phase.running() {
			ts = append(ts, transition{"garbage frees a slot", postmasterActs, true, func(s *state) string {
				s.thefts--
				s.slot[i].inUse, s.stolen = 0, true
				s.ring, s.note, s.changed = 1, 1, [modelSlots]bool{true, true} // or a minute passes: a look at all slots
				return ""
			}})
		}
	}
	return ts
}

// intrudedOn tells whether a claim is being made of a known worker's slot.
func (s *state) intrudedOn(slot int) bool {
	for b := range s.backend {
		if be := &s.backend[b]; be.op.claims() && be.claim != 0 && int(be.slot) == slot && s.of(be.claim).phase == phaseNone {
			return true
		}
	}
	return false
}

// handOver is the truth about a store to in_use at the end of a claim.
func (s *state) handOver(be *modelBackend) string {
	slot, c := s.own(be), s.of(be.claim)
	if slot.inUse != 0 && !s.stolen {
		return "slot claimed twice"
	}
	slot.inUse = 1
	if s.postmaster.known[be.slot] != 0 {
		c.phase = phaseGone
		return ""
	}
	s.owner[be.slot], c.phase = be.claim, phaseRegistered
	return ""
}

// restoreProgram is PostmasterSlots.Restore.
func restoreProgram() program {
	to := func(name string, do func(s *modelSlot, pm *modelPostmaster, i int)) step {
		return step{name: name, do: func(s *state, i int) (next, string) { do(&s.slot[i], &s.postmaster, i); return advance, "" }}
	}
	return program{
		to("generation.Store", func(s *modelSlot, pm *modelPostmaster, i int) { s.generation = pm.gen[i] }),
		to("worker.store, first half", func(s *modelSlot, pm *modelPostmaster, i int) { s.name = pm.known[i] }),
		to("worker.store, second half", func(s *modelSlot, pm *modelPostmaster, i int) { s.rest = pm.known[i] }),
		to("pid.Store", func(s *modelSlot, pm *modelPostmaster, i int) { s.pid = pm.pid[i] }),
		to("inUse.Store", func(s *modelSlot, _ *modelPostmaster, _ int) { s.inUse = 1 }),
	}
}

// restored is what holds of the slots of known workers, and of all handles, when
// everybody has done what there is to do.
func (s *state) restored() string {
	for i, id := range s.postmaster.known {
		if id == 0 {
			continue
		}
		pm, slot := &s.postmaster, s.slot[i]
		if slot.inUse == 0 || slot.generation != pm.gen[i] || slot.pid != pm.pid[i] || slot.name != id || slot.rest != id {
			return "lost slot: it is not as its worker had it"
		}
	}
	for id := uint8(1); id <= s.claims; id++ {
		c := s.of(id)
		slot := s.slot[c.slot]
		if sees := c.out && slot.inUse != 0 && slot.generation == c.generation; sees && s.owner[c.slot] != id {
			return "handle: it stands for another worker"
		}
	}
	return ""
}
