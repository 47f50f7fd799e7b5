package shmem_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/shmem"
)

func TestASetLatchMakesWaitReturnAtOnceUntilReset(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	l := s.Proc(0).Latch()
	l.Set()
	for range 2 {
		if got := l.Wait(-1); got != shmem.WokenBySet {
			t.Fatalf("got %v", got)
		}
	}
	l.Reset()
	if l.IsSet() {
		t.Fatal("still set")
	}
	if got := l.Wait(time.Millisecond); got != shmem.WokenByTimeout {
		t.Fatalf("got %v", got)
	}
}

func TestAKickIsConsumedAndHidesNoSet(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	l := s.Proc(0).Latch()
	l.Kick()
	if got := l.Wait(-1); got != shmem.WokenByKick {
		t.Fatalf("got %v", got)
	}
	l.Kick()
	l.Set()
	if got := l.Wait(-1); got != shmem.WokenBySet {
		t.Fatalf("got %v", got)
	}
	l.Reset()
	if got := l.Wait(0); got != shmem.WokenByTimeout {
		t.Fatalf("got %v", got)
	}
}

func TestResetLeavesAKickForTheNextWait(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	l := s.Proc(0).Latch()
	l.Set()
	l.Kick()
	l.Reset()
	if got := l.Wait(0); got != shmem.WokenByKick {
		t.Fatalf("got %v", got)
	}
}

func TestSetWakesASleeper(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	l := s.Proc(0).Latch()
	for range 1000 {
		woken := make(chan shmem.WakeReason)
		go func() { woken <- l.Wait(-1) }()
		l.Set()
		if got := <-woken; got != shmem.WokenBySet {
			t.Fatalf("got %v", got)
		}
		l.Reset()
	}
}

// rallies is how often the ball crosses the net.
const rallies = 5000

// echoLatch answers each set of record 0's latch by setting record 1's.
func echoLatch() error {
	s, _, err := attachInherited()
	if err != nil {
		return err
	}
	mine, theirs := s.Proc(0).Latch(), s.Proc(1).Latch()
	fmt.Println("ready")
	for i := range rallies {
		if got := mine.Wait(limit); got != shmem.WokenBySet {
			return fmt.Errorf("rally %d: %v", i, got)
		}
		mine.Reset()
		theirs.Set()
	}
	return nil
}

func TestNoWakeUpIsLostBetweenProcesses(t *testing.T) {
	s, a := newSegment(t, 1, 2)
	p := startProcess(t, "echo", s, a)
	p.readLine(t)
	mine, theirs := s.Proc(1).Latch(), s.Proc(0).Latch()
	for i := range rallies {
		theirs.Set()
		if got := mine.Wait(limit); got != shmem.WokenBySet {
			t.Fatalf("rally %d: %v", i, got)
		}
		mine.Reset()
	}
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func BenchmarkSetLatchWithoutSleeper(b *testing.B) {
	s, err := shmem.Create(1, 1)
	if err != nil {
		b.Fatal(err)
	}
	l := s.Proc(0).Latch()
	for b.Loop() {
		l.Set()
	}
}
