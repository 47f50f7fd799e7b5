package shmem_test

import (
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

// Whoever comes first, the last session's end is seen or told.
func TestTheEndOfTheLastSessionIsNeverMissed(t *testing.T) {
	for range 2000 {
		s, alarm := newSegment(t, 1, 1)
		s.SetSessions(alarm, 1, 1)
		left := make(chan struct{})
		go func() {
			s.SetSessions(alarm, 1, 0)
			close(left)
		}()
		s.RefuseSessions()
		seen := s.Sessions(1) == 0
		<-left
		if told := s.TakePostmasterSignal(shmem.PMSignalSessionsEnded); !seen && !told {
			t.Fatal("it was")
		}
		_ = s.Close()
		_ = alarm.Close()
	}
}
