package shmem_test

import (
	"testing"

	"github.com/pgexthost/pgexthost/shmem"
)

func segmentOf(t *testing.T, slots, procs int) *shmem.Segment {
	t.Helper()
	s, _ := newSegment(t, slots, procs)
	return s
}

func wantGate(t *testing.T, b shmem.BackendSlots, slot int, generation uint64, want bool) {
	t.Helper()
	if open, err := b.MayPass(slot, generation); open != want || err != nil {
		t.Errorf("slot %d, generation %d: open %v, %v; want %v", slot, generation, open, err, want)
	}
}

func open(t *testing.T, b shmem.BackendSlots, slot int, generation uint64, want bool) {
	t.Helper()
	if opened, err := b.OpenGate(slot, generation); opened != want || err != nil {
		t.Errorf("slot %d, generation %d: got %v, %v; want %v", slot, generation, opened, err, want)
	}
}

func TestAGateOpensForOneGeneration(t *testing.T) {
	s := segmentOf(t, 2, 2)
	b, pm := s.BackendSlots(5), s.PostmasterSlots()
	slot, first, err := b.Claim(shmem.Descriptor{Request: 7}, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	wantGate(t, b, slot, first, false)
	open(t, b, slot, first, true)
	open(t, b, slot, first, true)
	wantGate(t, b, slot, first, true)
	if info, ok := b.Info(slot); !ok || !info.GateOpen || info.Worker.Request != 7 || pm.Descriptor(slot).Request != 7 {
		t.Errorf("got %+v", info)
	}

	pm.Release(slot, false)
	_, second, err := b.Claim(shmem.Descriptor{Request: 8}, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	open(t, b, slot, first, false)
	wantGate(t, b, slot, second, false)
	if info, ok := b.Info(slot); !ok || info.GateOpen {
		t.Errorf("got %+v", info)
	}
	for _, slot := range []int{-1, 2} {
		if _, err := b.OpenGate(slot, 0); err == nil {
			t.Errorf("there is no slot %d", slot)
		}
		if _, err := b.MayPass(slot, 0); err == nil {
			t.Errorf("there is no slot %d", slot)
		}
	}
}

func TestAGateStaysClosedToWhoWasTerminatedFirst(t *testing.T) {
	b := segmentOf(t, 1, 1).BackendSlots(5)
	slot, generation, err := b.Claim(shmem.Descriptor{Request: 7}, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.RequestTermination(slot, generation); err != nil {
		t.Fatal(err)
	}
	open(t, b, slot, generation, true)
	wantGate(t, b, slot, generation, false)
}

func TestNoGarbageOpensAGate(t *testing.T) {
	s := segmentOf(t, 1, 1)
	b := s.BackendSlots(5)
	slot, generation, err := b.Claim(shmem.Descriptor{Request: 7}, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []uint64{0, 1, generation, 1 << 63, 1<<63 | generation, ^uint64(0), s.Incarnation()} {
		shmem.SetGate(s, word)
		wantGate(t, b, slot, generation, false)
	}
	open(t, b, slot, generation, true) // once more, and it is open whatever was there
	wantGate(t, b, slot, generation, true)
}

func TestOnlyTheSlotsProcessIsWokenAtItsGate(t *testing.T) {
	s := segmentOf(t, 2, 3)
	b, pm := s.BackendSlots(5), s.PostmasterSlots()
	for i := range 3 {
		s.Proc(i).SetPid(100 + i)
	}
	s.Proc(0).SetPid(0) // it is free
	for _, pid := range []int{shmem.InvalidPid, shmem.DeadPid} {
		pm.SetPid(1, pid)
		b.WakeAtGate(1)
	}
	for i := range 3 {
		if s.Proc(i).Latch().IsSet() {
			t.Errorf("latch %d is set for a worker without a process", i)
		}
	}
	pm.SetPid(1, 102)
	b.WakeAtGate(1)
	for i := range 3 {
		if got := s.Proc(i).Latch().IsSet(); got != (i == 2) {
			t.Errorf("latch %d: %v", i, got)
		}
	}
}
