package handshake

import (
	"time"

	"golang.org/x/sys/unix"
)

// ClockAt returns a time of this process, of the last minutes or hours, as
// nanoseconds of the clock that all processes of a machine share and nobody
// sets. It is 0, for unknown, if the time is zero or there is no such clock.
func ClockAt(t time.Time) int64 {
	now := clock()
	if t.IsZero() || now == 0 {
		return 0
	}
	return now - int64(time.Since(t))
}

// SinceClock returns how long ago it was what another process has got from
// ClockAt, and false if that is unknown.
func SinceClock(at int64) (time.Duration, bool) {
	now := clock()
	return time.Duration(now - at), at != 0 && now != 0
}

func clock() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}
