package shmem

import "sync/atomic"

// HoldSlotLock takes the slot lock and keeps it.
func HoldSlotLock(s *Segment, self int) { s.BackendSlots(self).lock() }

// SetParallelCounters makes both counters of parallel workers what they are
// after n of them have come and gone.
func SetParallelCounters(s *Segment, n uint32) {
	s.head.parallelRegister.Store(n)
	s.head.parallelTerminate.Store(n)
}

// CountParallel counts n parallel workers as registered.
func CountParallel(s *Segment, n uint32) { s.head.parallelRegister.Add(n) }

// CountedParallel returns how many parallel workers the counters say there are.
func CountedParallel(s *Segment) uint32 {
	return s.head.parallelRegister.Load() - s.head.parallelTerminate.Load()
}

// SetSlotLock overwrites the slot lock.
func SetSlotLock(s *Segment, word uint32) { s.head.slotLock.Store(word) }

// SlotSize is the size of a slot in the segment.
const SlotSize = slotSize

// ProcsOffset and TombsOffset say where the parts of a segment are.
func ProcsOffset(slots int) int { return newGeometry(slots, 1).procsOffset }

func TombsOffset(slots, procs int) int { return newGeometry(slots, procs).tombsOffset }

// SetTerminate overwrites slot 0's terminate word.
func SetTerminate(s *Segment, word uint64) { s.slots[0].terminate.Store(word) }

// MakeOdd overwrites the change counts of slot 0's report and of record 0.
func MakeOdd(s *Segment) {
	s.slots[0].report.changeCount.Store(7)
	s.procs[0].changeCount.Store(7)
}

// FillChanges sets all hints at slots that have changed.
func FillChanges(s *Segment) {
	for i := range s.head.changes {
		s.head.changes[i].Store(^uint64(0))
	}
}

// WipeOut overwrites a latch's word and returns what it was.
func WipeOut(l Latch) uint32 { return l.word.Swap(0) }

// Counts returns the change counts that MakeOdd overwrites.
func Counts(s *Segment) [2]uint32 {
	return [2]uint32{s.slots[0].report.changeCount.Load(), s.procs[0].changeCount.Load()}
}

// PingFutex and PongFutex hand a turn to another process and back, with two
// words of the segment and nothing around the futex.
func PingFutex(s *Segment, other, own int) {
	turn(&s.procs[other].latch)
	awaitTurn(&s.procs[own].latch)
}

// PongFutex is the other side of PingFutex.
func PongFutex(s *Segment, own, other int) {
	awaitTurn(&s.procs[own].latch)
	turn(&s.procs[other].latch)
}

func turn(word *atomic.Uint32) {
	word.Store(1)
	futexWake(word)
}

func awaitTurn(word *atomic.Uint32) {
	for !word.CompareAndSwap(1, 0) {
		futexWait(word, 0, -1)
	}
}

// SetGate overwrites slot 0's gate word.
func SetGate(s *Segment, word uint64) { s.slots[0].gate.Store(word) }

// StatisticsWords returns the words of the published statistics.
func StatisticsWords(s *Segment) []uint64 { return wordsOf(&s.shared.statistics.copy) }

// FillTallies overwrites all that children have counted.
func FillTallies(s *Segment, word uint64) {
	t := &s.shared.tallies
	for _, h := range []*histogram{&t.launch, &t.connect} {
		for i := range h.buckets {
			h.buckets[i].Store(word)
		}
		h.micros.Store(word)
	}
	t.connectFailures.Store(word)
	for i := range t.requests {
		t.requests[i].Store(word)
	}
}

// AdmitSessions takes RefuseSessions back, as no host does.
func AdmitSessions(s *Segment) { s.head.refusal.Store(0) }
