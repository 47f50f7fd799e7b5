package shmem

import (
	"math/bits"
	"slices"
)

// changeBits is how many slots can be told apart by who has changed one. Of an
// array that is larger, several share a bit.
const changeBits = 2048

// SendSlotChange tells the postmaster that this process has changed a slot:
// that it is in use, or that its worker shall end. The slot is a hint, so that
// the postmaster need not look at all of them. It comes after what it is a hint
// at, and before the reason to look: a postmaster that takes the reason finds
// the hint.
func (s *Segment) SendSlotChange(a *Alarm, slot int) {
	bit := slot % changeBits
	s.head.changes[bit/64].Or(1 << (bit % 64))
	s.SendPostmasterSignal(a, PMSignalBackgroundWorkerChange)
}

// TakeChanges returns the slots that may have changed since the last time, in
// ascending order, and nil if nobody has said which: then it may be any. The
// postmaster takes the reason to look, TakePostmasterSignal, before. Garbage in
// here makes it look at slots that are as they were, or leave for the next look
// at all of them what it should have seen now.
func (p PostmasterSlots) TakeChanges() (changed []int) {
	for i := range p.head.changes {
		if p.head.changes[i].Load() == 0 {
			continue // without taking the cache line from whoever has it
		}
		for word := p.head.changes[i].Swap(0); word != 0; word &= word - 1 {
			for slot := i*64 + bits.TrailingZeros64(word); slot < len(p.slots); slot += changeBits {
				changed = append(changed, slot)
			}
		}
	}
	slices.Sort(changed)
	return changed
}
