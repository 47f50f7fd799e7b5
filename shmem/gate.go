package shmem

import "github.com/pgexthost/pgexthost/internal/failpoint"

// The gate of a slot holds back the process of a worker whose descriptor has a
// request, until whoever registered it opens the gate. PostgreSQL has nothing like
// it.
//
// Its word is the request to open it, and names a generation as the terminate word
// does. So a registration begins with its gate closed without a store that says
// so, no garbage opens one, and a worker that is restarted finds it open. The
// postmaster knows nothing of it.

// OpenGate opens the gate of slot index and generation unless the slot has been
// recycled, and reports whether it did. The caller wakes the worker afterwards:
// see WakeAtGate.
func (b BackendSlots) OpenGate(index int, generation uint64) (bool, error) {
	if err := b.check(index); err != nil {
		return false, err
	}
	b.lock()
	defer b.unlock()
	s := &b.slots[index]
	if s.generation.Load() != generation {
		return false, nil
	}
	s.gate.Store(keyOf(b.segment.incarnation, generation))
	failpoint.Here(failpoint.GateOpened)
	return true, nil
}

// WakeAtGate sets the latch of the slot's process, if there is one. A process that
// begins after the look at the pid finds the gate open: the postmaster stores the
// pid before it tells the process who it is. If another worker has the slot by
// now, its latch is set for nothing.
func (b BackendSlots) WakeAtGate(index int) {
	pid := int(b.slots[index].pid.Load())
	for i := 0; pid > 0 && i < b.segment.ProcCount(); i++ {
		if p := b.segment.Proc(i); p.Pid() == pid {
			p.Latch().Set()
		}
	}
}

// MayPass reports whether the gate of slot index and generation is open, for the
// process that waits there: there is no lock. The gate of a worker that was told
// to end stays closed, whoever opens it later. That comes second here, so that who
// sees the opening sees a termination that came before it.
func (b BackendSlots) MayPass(index int, generation uint64) (bool, error) {
	if err := b.check(index); err != nil {
		return false, err
	}
	s, key := &b.slots[index], keyOf(b.segment.incarnation, generation)
	return s.gate.Load() == key && s.terminate.Load() != key, nil
}
