//go:build !linux || portable

package shmem

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAWakeUpReachesAllWhoSleepOnTheWord(t *testing.T) {
	var word, another atomic.Uint32
	var asleep sync.WaitGroup
	for range 10 {
		asleep.Go(func() { futexWait(&word, 0, -1) })
	}
	for inBed(&word) < 10 {
		runtime.Gosched()
	}
	futexWake(&another)
	if n := inBed(&word); n != 10 {
		t.Errorf("%d sleep on after the wake-up of another word", n)
	}
	futexWake(&word)
	asleep.Wait()
	expectNoBeds(t)
}

func TestNobodySleepsOnAWordThatHasChanged(t *testing.T) {
	var word atomic.Uint32
	word.Store(1)
	futexWait(&word, 0, -1) // or for ever
	expectNoBeds(t)
}

func TestWhoHasSleptLongEnoughLeavesNothingBehind(t *testing.T) {
	var word atomic.Uint32
	futexWait(&word, 0, time.Millisecond)
	futexWait(&word, 0, 0)
	expectNoBeds(t)
}

// Who wakes and who gets up by himself may meet; a bed that was made meanwhile is
// another's.
func TestGettingUpTakesNoOthersBed(t *testing.T) {
	var word atomic.Uint32
	old := lieDown(&word, 0)
	futexWake(&word)
	other := lieDown(&word, 0)
	old.getUp(&word)
	if beds.of[&word] != other {
		t.Error("the other's bed is gone")
	}
	other.getUp(&word)
	expectNoBeds(t)
}

func inBed(word *atomic.Uint32) int {
	beds.Lock()
	defer beds.Unlock()
	if b := beds.of[word]; b != nil {
		return b.sleepers
	}
	return 0
}

func expectNoBeds(t *testing.T) {
	t.Helper()
	beds.Lock()
	defer beds.Unlock()
	if n := len(beds.of); n != 0 {
		t.Errorf("%d beds are left", n)
	}
}
