package shmem

// TypeByPid returns the type of the background worker whose process has the
// given pid, or false if there is none. Mirrors GetBackgroundWorkerTypeByPid.
//
// It looks through the slots without the lock, which C holds all the while, and
// takes it for the one slot whose type it copies: as long as the lock is held
// nobody can hand the slot to another worker. The postmaster, which takes no
// lock, may give it back at any moment, but writes no types.
func (b BackendSlots) TypeByPid(pid int) (string, bool) {
	for i := range b.slots {
		s := &b.slots[i]
		if s.runs(pid) {
			if typ, ok := b.typeOf(s, pid); ok {
				return typ, true
			}
		}
	}
	return "", false
}

func (b BackendSlots) typeOf(s *slot, pid int) (string, bool) {
	b.lock()
	defer b.unlock()
	if !s.runs(pid) { // it was another worker's before we had the lock
		return "", false
	}
	return safeString(s.worker.typ[:]), true
}

// runs reports whether the slot's worker is the process pid. A free slot keeps
// what its last worker has left there.
func (s *slot) runs(pid int) bool {
	return pid > 0 && int(s.pid.Load()) == pid && s.inUse.Load() != 0
}
