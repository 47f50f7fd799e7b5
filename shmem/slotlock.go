package shmem

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/failpoint"
)

// lockContended is the bit of the slot lock that says that somebody sleeps on
// it. Pids stay far below it.
const lockContended = 1 << 31

// lockPatience is how long to wait for a holder before asking whether it can be
// one. The lock is held for microseconds.
const lockPatience = time.Second

// The slot lock is BackgroundWorkerLock: one word that holds the pid of its
// holder, so that taking the lock and taking the blame are the same store. The
// postmaster never takes it.

func (b BackendSlots) lock() {
	self := uint32(b.self)
	var awaited uint32 // the holder that we have been waiting for
	var since time.Time
	for {
		if b.head.slotLock.CompareAndSwap(0, self) {
			b.segment.holdsTheLock.Store(true)
			return
		}
		held := b.head.slotLock.Load()
		if held == 0 {
			continue
		}
		switch holder := held &^ lockContended; {
		case holder != awaited || since.IsZero():
			awaited, since = holder, time.Now()
		case time.Since(since) >= lockPatience:
			if !b.canHold(int(holder)) && b.head.slotLock.CompareAndSwap(held, 0) {
				futexWake(&b.head.slotLock)
				continue
			}
			since = time.Now()
		}
		if held&lockContended == 0 && !b.head.slotLock.CompareAndSwap(held, held|lockContended) {
			continue
		}
		// The time-out guards against a holder that was killed between its two
		// stores in unlock, and against one that never was.
		futexWait(&b.head.slotLock, held|lockContended, 100*time.Millisecond)
	}
}

// canHold reports whether the slot lock can be held by the process that it
// names. If not, the word is garbage, and who waits for it to change waits for
// ever; so it is broken. Only children of the postmaster ever hold the lock, and
// the kernel knows whose child a process is, which no shared memory could tell.
// The postmaster itself is none, nor is any stranger.
//
// A child that has died, but has not been reaped, still counts: the postmaster
// will find the lock in its hands, and must, to decide what that means. A child
// that lives is believed: nobody could tell whether it is being debugged, and it
// is waited for as PostgreSQL waits for an LWLock.
func (b BackendSlots) canHold(pid int) bool {
	switch {
	case pid == b.self:
		return b.segment.holdsTheLock.Load()
	case pid <= 0, unix.Kill(pid, 0) == unix.ESRCH:
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return unix.Kill(pid, 0) != unix.ESRCH // there is no /proc, or it has just gone
	}
	// PID (COMMAND) STATE PPID …, where COMMAND may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return len(fields) < 2 || fields[1] == strconv.Itoa(os.Getppid())
}

// Lock takes the slot lock. The methods that need it take it themselves, so this
// is for tests: of those who wait for it, and of what becomes of a process that
// dies with it. Mirrors LWLockAcquire(BackgroundWorkerLock, LW_EXCLUSIVE).
func (b BackendSlots) Lock() { b.lock() }

// Unlock releases the slot lock. Only its holder may call it.
func (b BackendSlots) Unlock() { b.unlock() }

// BreakSlotLock frees the slot lock if it is held by a process that the caller
// knows to be dead. Claim hands a slot over by its last store, so a slot that
// was being claimed is still free. That it may have been counted as a parallel
// worker's already refuses nobody: see Claim.
func (s *Segment) BreakSlotLock(dead int) {
	// Between two looks only the mark that somebody sleeps can come, unless
	// somebody writes garbage; and that must not keep the postmaster here.
	for range readAttempts {
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
	b.segment.holdsTheLock.Store(false)
	held := b.head.slotLock.Swap(0)
	failpoint.Here(failpoint.LockReleased)
	if held&lockContended != 0 {
		futexWake(&b.head.slotLock)
	}
}

// SlotLockHolder returns the pid that holds the slot lock, or 0. A process
// that died holding it has left the slot array in an unknown state.
func (s *Segment) SlotLockHolder() int {
	return int(s.head.slotLock.Load() &^ lockContended)
}
