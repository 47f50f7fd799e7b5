package shmem

import (
	"sync/atomic"
	"time"
)

// The bits of a latch word.
const (
	latchSet      = 1 << iota // SetLatch was called and ResetLatch was not yet
	latchSleeping             // the owner sleeps, or is about to
	latchKick                 // the owner shall look around, though the latch is not set
)

// Latch is a process's latch: one futex word in its record, which any attached
// process can set and only its owner waits for. Mirrors PostgreSQL's Latch.
//
// Set, Kick and IsSet are safe from anywhere. Reset and Wait are for the owner,
// one goroutine at a time.
type Latch struct{ word *atomic.Uint32 }

// WakeReason says why Latch.Wait returned.
type WakeReason int

// The reasons.
const (
	WokenBySet WakeReason = iota
	WokenByKick
	WokenByTimeout
)

// Set sets the latch and wakes its owner. It costs one atomic operation when
// nobody sleeps. Mirrors SetLatch.
func (l Latch) Set() { l.raise(latchSet) }

// Kick makes a present or the next Wait return without setting the latch. The
// owner's own process uses it when a context ends or the postmaster dies.
//
// It always costs a system call: unlike a latch that is set for an event of the
// plugin's, a kick must arrive even if somebody has wiped out the word that says
// that the owner sleeps.
func (l Latch) Kick() {
	l.word.Or(latchKick)
	futexWake(l.word)
}

func (l Latch) raise(bit uint32) {
	if l.word.Or(bit)&latchSleeping != 0 {
		futexWake(l.word)
	}
}

// Reset clears the latch. Whoever resets must look at what the latch stands
// for afterwards, never before. Mirrors ResetLatch.
func (l Latch) Reset() { l.word.And(^uint32(latchSet)) }

// IsSet reports whether the latch is set.
func (l Latch) IsSet() bool { return l.word.Load()&latchSet != 0 }

// longestSleep is after how long a sleeper looks at its latch unasked. It is of
// use only if the word was overwritten in its sleep, so that who set the latch
// did not see that there is somebody to be woken.
const longestSleep = 5 * time.Second

// Wait sleeps until the latch is set, somebody kicks it, or the timeout has
// passed (negative: none). A latch that is set already makes it return at once;
// a kick is consumed.
func (l Latch) Wait(timeout time.Duration) WakeReason {
	deadline := time.Now().Add(timeout)
	defer l.word.And(^uint32(latchSleeping))
	for {
		word := l.word.Or(latchSleeping) | latchSleeping
		switch {
		case word&latchKick != 0:
			l.word.And(^uint32(latchKick))
			// A kick hides nothing: if the latch is set too, say that.
			if word&latchSet != 0 {
				return WokenBySet
			}
			return WokenByKick
		case word&latchSet != 0:
			return WokenBySet
		}
		remaining := longestSleep
		if timeout >= 0 {
			if remaining = min(time.Until(deadline), longestSleep); remaining <= 0 {
				return WokenByTimeout
			}
		}
		futexWait(l.word, word, remaining)
	}
}
