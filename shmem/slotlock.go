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

// Lock takes the slot lock, for as long as it takes to look at several slots.
// Whoever dies with it brings all processes down, unless crash_scope is worker.
// Mirrors LWLockAcquire(BackgroundWorkerLock, LW_EXCLUSIVE).
func (b BackendSlots) Lock() { b.lock() }

// Unlock releases the slot lock. Only its holder may call it.
func (b BackendSlots) Unlock() { b.unlock() }

// BreakSlotLock frees the slot lock if it is held by a process that the caller
// knows to be dead. Claim hands a slot over by its last store, so a slot that
// was being claimed is still free.
func (s *Segment) BreakSlotLock(dead int) {
	for {
		held := s.head.slotLock.Load()
		if held&^lockContended != uint32(dead) {
			return
		}
		if s.head.slotLock.CompareAndSwap(held, 0) {
			futexWake(&s.head.slotLock)
			return
		}
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
