package shmem

import (
	"time"
)

// lockContended is the bit of the slot lock that says that somebody sleeps on
// it. Pids stay far below it.
const lockContended = 1 << 31

// The slot lock is BackgroundWorkerLock: one word that holds the pid of its
// holder, so that taking the lock and taking the blame are the same store. The
// postmaster never takes it.

func (b BackendSlots) lock() {
	self := uint32(b.self)
	for {
		if b.head.slotLock.CompareAndSwap(0, self) {
			return
		}
		held := b.head.slotLock.Load()
		if held == 0 {
			continue
		}
		if held&lockContended == 0 && !b.head.slotLock.CompareAndSwap(held, held|lockContended) {
			continue
		}
		// The time-out only guards against a holder that was killed between
		// its two stores in unlock.
		futexWait(&b.head.slotLock, held|lockContended, 100*time.Millisecond)
	}
}

func (b BackendSlots) unlock() {
	if b.head.slotLock.Swap(0)&lockContended != 0 {
		futexWake(&b.head.slotLock)
	}
}

// SlotLockHolder returns the pid that holds the slot lock, or 0. A process
// that died holding it has left the slot array in an unknown state.
func (s *Segment) SlotLockHolder() int {
	return int(s.head.slotLock.Load() &^ lockContended)
}
