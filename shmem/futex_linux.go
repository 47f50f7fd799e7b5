//go:build !portable

package shmem

import (
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Operations of futex(2). Not the _PRIVATE ones: the words are shared between
// processes.
const (
	futexOpWait = 0
	futexOpWake = 1
)

// futexWait sleeps while *word == value, until somebody wakes the word or the
// timeout has passed (none if negative). It may return early; callers loop over
// their condition.
func futexWait(word *atomic.Uint32, value uint32, timeout time.Duration) {
	var ts *unix.Timespec
	if timeout >= 0 {
		t := unix.NsecToTimespec(timeout.Nanoseconds())
		ts = &t
	}
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexOpWait, uintptr(value), uintptr(unsafe.Pointer(ts)), 0, 0)
}

// futexWake wakes everybody who sleeps on the word.
func futexWake(word *atomic.Uint32) {
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexOpWake, math.MaxInt32, 0, 0, 0)
}
