package shmem_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/shmem"
)

// newLatch returns a latch in shared memory, or, where there is none to share, one
// for the goroutines of this process.
func newLatch(t *testing.T) shmem.Latch {
	t.Helper()
	s, err := shmem.Create(1, 1)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return shmem.PrivateProc().Latch()
	case err != nil:
		t.Fatal(err)
	}
	return s.Proc(0).Latch()
}

func TestASetLatchMakesWaitReturnAtOnceUntilReset(t *testing.T) {
	l := newLatch(t)
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
	l := newLatch(t)
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
	l := newLatch(t)
	l.Set()
	l.Kick()
	l.Reset()
	if got := l.Wait(0); got != shmem.WokenByKick {
		t.Fatalf("got %v", got)
	}
}

func TestSetWakesASleeper(t *testing.T) {
	l := newLatch(t)
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

// Sets and kicks from many sides, and waits that run out, reach the owner in any
// order; what it is woken for is never lost.
func TestNoWakeUpIsLostBetweenGoroutines(t *testing.T) {
	mine, theirs := newLatch(t), newLatch(t)
	go func() {
		for range rallies {
			for theirs.Wait(50*time.Microsecond) != shmem.WokenBySet { // it runs out now and then
			}
			theirs.Reset()
			mine.Set()
		}
	}()
	for i := range rallies {
		theirs.Kick()
		theirs.Set()
		if got := mine.Wait(limit); got != shmem.WokenBySet {
			t.Fatalf("rally %d: %v", i, got)
		}
		mine.Reset()
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
	s := create(b, 1, 1)
	l := s.Proc(0).Latch()
	for b.Loop() {
		l.Set()
	}
}
