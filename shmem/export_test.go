package shmem

// HoldSlotLock takes the slot lock and keeps it.
func HoldSlotLock(s *Segment, self int) { s.BackendSlots(self).lock() }
