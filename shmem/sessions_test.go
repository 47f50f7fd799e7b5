package shmem_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/pgexthost/pgexthost/shmem"
)

func TestSessionsAreThoseOfTheGatewayThatIsAskedFor(t *testing.T) {
	s, alarm := newSegment(t, 1, 1)
	if n := s.Sessions(0); n != 0 {
		t.Errorf("%d before there is a gateway", n)
	}
	for _, n := range []int{1, 2, shmem.MaxSlots, 0, 3} {
		s.SetSessions(alarm, 4711, n)
		if got := s.Sessions(4711); got != n {
			t.Errorf("%d, not %d", got, n)
		}
	}
	if n := s.Sessions(4712); n != 0 {
		t.Errorf("its successor has %d", n)
	}
	s.SetSessions(alarm, 4711, shmem.MaxSlots+1)
	if n := s.Sessions(4711); n != 0 {
		t.Errorf("%d are believed", n)
	}
}

// Thousands of short sessions must not become as many wake-ups.
func TestThePostmasterIsWokenByTheLastSessionThatItWaitsForAndByNoOther(t *testing.T) {
	s, alarm := newSegment(t, 1, 1)
	set := func(n int, wakes bool) {
		t.Helper()
		s.SetSessions(alarm, 1, n)
		if woken := s.TakePostmasterSignal(shmem.PMSignalSessionsEnded); woken != wakes {
			t.Errorf("%d sessions: woken: %v", n, woken)
		}
	}
	set(1, false)
	set(0, false)
	set(2, false)
	s.RefuseSessions()
	set(1, false)
	set(0, true)
	if err := alarm.Wait(); err != nil { // or it would hang
		t.Error(err)
	}
}

func TestSessionsAreRefusedFromThePostmastersWordOn(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	if s.RefusesSessions() {
		t.Error("from the beginning")
	}
	s.RefuseSessions()
	if !s.RefusesSessions() {
		t.Error("never")
	}
}

// race lets the last session leave while the postmaster does something else, in
// each round at the same moment. It calls over to wait for the end of that.
func race(t *testing.T, rounds int64, before func(*shmem.Segment), meanwhile func(s *shmem.Segment, over func())) {
	t.Helper()
	s, alarm := newSegment(t, 1, 1)
	var begun, over atomic.Int64
	await := func(counter *atomic.Int64, n int64) {
		for counter.Load() < n {
			runtime.Gosched()
		}
	}
	go func() {
		for n := range rounds {
			await(&begun, n+1)
			s.SetSessions(alarm, 1, 0)
			over.Store(n + 1)
		}
	}()
	for n := range rounds {
		shmem.AdmitSessions(s)
		s.SetSessions(alarm, 1, 1)
		s.TakePostmasterSignal(shmem.PMSignalSessionsEnded)
		before(s)
		begun.Store(n + 1)
		meanwhile(s, func() { await(&over, n+1) })
	}
}

// Whoever comes first, the last session's end is seen or told.
func TestTheEndOfTheLastSessionIsNeverMissed(t *testing.T) {
	missed := 0
	race(t, 50_000, func(*shmem.Segment) {}, func(s *shmem.Segment, over func()) {
		s.RefuseSessions()
		seen := s.Sessions(1) == 0
		over()
		if told := s.TakePostmasterSignal(shmem.PMSignalSessionsEnded); !seen && !told {
			missed++
		}
	})
	if missed > 0 {
		t.Errorf("%d times it was", missed)
	}
}

// And who is told finds it so.
func TestWhoIsToldOfTheLastSessionsEndSeesIt(t *testing.T) {
	wrong := 0
	race(t, 5_000, (*shmem.Segment).RefuseSessions, func(s *shmem.Segment, over func()) {
		for !s.TakePostmasterSignal(shmem.PMSignalSessionsEnded) {
			runtime.Gosched()
		}
		if s.Sessions(1) != 0 {
			wrong++
		}
		over()
	})
	if wrong > 0 {
		t.Errorf("%d times it did not", wrong)
	}
}
