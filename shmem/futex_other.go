//go:build !linux || portable

package shmem

import (
	"sync"
	"sync/atomic"
	"time"
)

// beds are where the goroutines of this process sleep, by word. It stands in for
// the futexes of Linux, for workers without a host: their latches are in memory
// that no other process has.
var beds = struct {
	sync.Mutex
	of map[*atomic.Uint32]*bed
}{of: make(map[*atomic.Uint32]*bed)}

type bed struct {
	woken    chan struct{} // closed by futexWake
	sleepers int
}

// futexWait sleeps while *word == value, until somebody wakes the word or the
// timeout has passed (none if negative). It may return early; callers loop over
// their condition.
func futexWait(word *atomic.Uint32, value uint32, timeout time.Duration) {
	b := lieDown(word, value)
	if b == nil {
		return
	}
	defer b.getUp(word)
	var over <-chan time.Time // nil: never
	if timeout >= 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-b.woken:
	case <-over:
	}
}

// lieDown looks at the word and takes a bed in one step, as futex(2) does, so that
// no wake-up comes in between. It returns nil if the word has another value.
func lieDown(word *atomic.Uint32, value uint32) *bed {
	beds.Lock()
	defer beds.Unlock()
	if word.Load() != value {
		return nil
	}
	b := beds.of[word]
	if b == nil {
		b = &bed{woken: make(chan struct{})}
		beds.of[word] = b
	}
	b.sleepers++
	return b
}

func (b *bed) getUp(word *atomic.Uint32) {
	beds.Lock()
	defer beds.Unlock()
	if b.sleepers--; b.sleepers == 0 && beds.of[word] == b {
		delete(beds.of, word)
	}
}

// futexWake wakes everybody who sleeps on the word.
func futexWake(word *atomic.Uint32) {
	beds.Lock()
	defer beds.Unlock()
	if b := beds.of[word]; b != nil {
		delete(beds.of, word)
		close(b.woken)
	}
}
