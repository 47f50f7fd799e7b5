package shmem_test

import (
	"slices"
	"testing"

	"github.com/pgexthost/pgexthost/shmem"
)

func TestThePostmasterLearnsWhichSlotsHaveChanged(t *testing.T) {
	s, a := newSegment(t, 5000, 1)
	p := s.PostmasterSlots()
	want := func(slots ...int) {
		t.Helper()
		if got := p.TakeChanges(); !slices.Equal(got, slots) {
			t.Errorf("got %v, want %v", got, slots)
		}
	}
	want()
	s.SendSlotChange(a, 1000)
	s.SendSlotChange(a, 64)
	s.SendSlotChange(a, 1000)
	if !s.TakePostmasterSignal(shmem.PMSignalBackgroundWorkerChange) {
		t.Error("nobody has told the postmaster to look")
	}
	want(64, 1000, 64+2048, 1000+2048, 64+2*2048) // with those that share a bit
	want()
	s.SendSlotChange(a, 4999)
	want(4999-2*2048, 4999-2048, 4999)
}

func TestGarbageAmongTheChangesNamesNoSlotThatIsNone(t *testing.T) {
	s, _ := newSegment(t, 70, 1)
	shmem.FillChanges(s)
	got := s.PostmasterSlots().TakeChanges()
	if len(got) != 70 || got[0] != 0 || got[69] != 69 {
		t.Errorf("got %v", got)
	}
}
