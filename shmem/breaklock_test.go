package shmem_test

import (
	"errors"
	"math"
	"testing"

	"github.com/pgexthost/pgexthost/shmem"
)

// Whoever died between counting a parallel worker and handing over its slot must
// not cost the others one for ever.
func TestWhoDiesWhileHeRegistersAParallelWorkerCostsTheOthersNone(t *testing.T) {
	const parallel, limit = 0x10, 3
	for _, start := range []uint32{0, math.MaxUint32 - 1} {
		s, _ := newSegment(t, 8, 1)
		shmem.SetParallelCounters(s, start)
		be, pm := s.BackendSlots(1), s.PostmasterSlots()
		claim := func() error {
			_, _, err := be.Claim(shmem.Descriptor{Flags: parallel}, true, limit)
			return err
		}
		for range 2 {
			if err := claim(); err != nil {
				t.Fatal(err)
			}
		}
		pm.Release(0, true)
		if _, _, err := be.Claim(shmem.Descriptor{}, false, limit); err != nil { // in slot 0, and not parallel
			t.Fatal(err)
		}
		shmem.HoldSlotLock(s, 4711)
		shmem.CountParallel(s, 2) // twice, as if it had been killed twice
		s.BreakSlotLock(4712)
		if s.SlotLockHolder() != 4711 {
			t.Fatal("the lock was not the dead's")
		}
		s.BreakSlotLock(4711)
		for n := range 3 { // one runs, and two more may
			if err := claim(); (err == nil) != (n < 2) || n == 2 && !errors.Is(err, shmem.ErrParallelLimit) {
				t.Errorf("from %d: claim %d: %v", start, n, err)
			}
		}
	}
}
