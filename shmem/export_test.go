package shmem

// HoldSlotLock takes the slot lock and keeps it.
func HoldSlotLock(s *Segment, self int) { s.BackendSlots(self).lock() }

// SetParallelCounters makes both counters of parallel workers what they are
// after n of them have come and gone.
func SetParallelCounters(s *Segment, n uint32) {
	s.head.parallelRegister.Store(n)
	s.head.parallelTerminate.Store(n)
}
