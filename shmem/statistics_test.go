package shmem_test

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/shmem"
)

// counted returns statistics that are n all over.
func counted(n uint64) (s shmem.Statistics) {
	s.Phase, s.Began = shmem.HostPhase(n), int64(n)
	s.Registered, s.Unregistered, s.Starts, s.Restarts, s.StartFailures = n, n, n, n, n
	s.Crashes, s.CrashCycles, s.AuxiliaryStarts, s.AuxiliaryExits = n, n, n, n
	for i := range s.ExitCodes {
		s.ExitCodes[i] = n
	}
	for i := range s.ExitSignals {
		s.ExitSignals[i] = n
	}
	return s
}

func TestStatisticsComeBackAsPublished(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	if got, ok := s.Statistics(); ok {
		t.Errorf("before they were published: %+v", got)
	}
	for _, n := range []uint64{0, 1, math.MaxUint64} {
		s.PublishStatistics(counted(n))
		if got, ok := s.Statistics(); !ok || got != counted(n) {
			t.Errorf("%d: got %+v, %v", n, got, ok)
		}
	}
}

// Any word of them, and each bit of the first ones.
func TestStatisticsThatSomebodyHasOverwrittenAreNone(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	words := shmem.StatisticsWords(s)
	published := counted(3)
	for i := range words {
		for _, flip := range []uint64{1, 1 << 63, math.MaxUint64} {
			s.PublishStatistics(published)
			words[i] ^= flip
			if got, ok := s.Statistics(); ok {
				t.Fatalf("word %d: got %+v", i, got)
			}
		}
	}
	for _, fill := range []uint64{0, math.MaxUint64, 0x4141414141414141} {
		s.PublishStatistics(published)
		for i := range words {
			words[i] = fill
		}
		if _, ok := s.Statistics(); ok {
			t.Errorf("%#x everywhere passes for statistics", fill)
		}
	}
	s.PublishStatistics(published)
	if got, ok := s.Statistics(); !ok || got != published {
		t.Error("they are not right again once they are published again")
	}
}

func TestReadersNeverSeeHalfOfTheStatistics(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	s.PublishStatistics(counted(1))
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := uint64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
				s.PublishStatistics(counted(n))
			}
		}
	})
	defer writer.Wait()
	defer close(stop)
	seen := make(map[uint64]bool)
	for deadline := time.Now().Add(limit); len(seen) < 1000; {
		if got, ok := s.Statistics(); ok {
			if got != counted(got.Starts) {
				t.Fatalf("got %+v", got)
			}
			seen[got.Starts] = true
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %d copies could be had", len(seen))
		}
	}
}

func TestDurationsGoIntoTheirBuckets(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	last := len(shmem.LatencyBounds)
	var want shmem.Histogram
	for i, bound := range shmem.LatencyBounds {
		s.CountLaunch(bound)     // belongs to it
		s.CountLaunch(bound + 1) // and no more
		want.Buckets[i]++
		want.Buckets[i+1]++
		want.Sum += 2 * bound             // in whole microseconds
		s.CountConnect(time.Duration(-i)) // of a clock that went back
		s.CountConnect(365 * 24 * time.Hour)
	}
	got := s.Tallies()
	if got.Launch != want {
		t.Errorf("got %+v, want %+v", got.Launch, want)
	}
	if got.Connect.Buckets[0] != uint64(last) || got.Connect.Buckets[last] != uint64(last) || got.Connect.Sum != time.Duration(last)*365*24*time.Hour {
		t.Errorf("got %+v", got.Connect)
	}
}

func TestTalliesGoOnInAnotherSegment(t *testing.T) {
	old, _ := newSegment(t, 1, 1)
	old.CountLaunch(time.Second)
	old.CountConnect(time.Hour)
	old.CountConnectFailure()
	old.CountRequest(shmem.ControlPs)
	old.CountRequest(shmem.ControlOther)
	next, _ := newSegment(t, 2, 2)
	next.SetTallies(old.Tallies())
	if next.Tallies() != old.Tallies() || next.Tallies().ConnectFailures != 1 {
		t.Errorf("got %+v, want %+v", next.Tallies(), old.Tallies())
	}
	next.CountConnectFailure()
	next.CountRequest(shmem.ControlOther)
	if got := next.Tallies(); got.ConnectFailures != 2 || got.Requests[shmem.ControlOther] != 2 || got.Requests[shmem.ControlPs] != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestNobodysCountIsLost(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	const children, each = 8, 1000
	var all sync.WaitGroup
	for range children {
		all.Go(func() {
			for range each {
				s.CountLaunch(time.Millisecond)
				s.CountConnectFailure()
			}
		})
	}
	all.Wait()
	got := s.Tallies()
	if got.Launch.Buckets[0] != children*each || got.Launch.Sum != children*each*time.Millisecond || got.ConnectFailures != children*each {
		t.Errorf("got %+v", got)
	}
}

// What can't have been counted counts nothing, so that sums of it stay sums.
func TestTalliesOfGarbageAreBounded(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	for _, garbage := range []uint64{math.MaxUint64, 1 << 63, 1 << 53} {
		shmem.FillTallies(s, garbage)
		if got := s.Tallies(); got != (shmem.Tallies{}) {
			t.Errorf("%#x: got %+v", garbage, got)
		}
	}
	shmem.FillTallies(s, 1<<53-1)
	if got := s.Tallies(); got.Launch.Sum <= 0 || got.Connect.Buckets[0] != 1<<53-1 {
		t.Errorf("got %+v", got)
	}
}

func TestOnlyThePostmasterAnswersAPing(t *testing.T) {
	s, alarm := newSegment(t, 1, 1)
	first, second := s.Ping(alarm), s.Ping(alarm)
	if !s.TakePostmasterSignal(shmem.PMSignalPing) || s.Answered(first) || s.Answered(second) {
		t.Error("it is answered, or nobody was woken")
	}
	s.AnswerPings()
	third := s.Ping(alarm)
	if !s.Answered(first) || !s.Answered(second) || s.Answered(third) {
		t.Error("one answer is for all that have asked before, and for no other")
	}
	if err := alarm.Wait(); err != nil {
		t.Error(err)
	}
}
