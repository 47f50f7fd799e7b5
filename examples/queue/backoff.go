package queue

import (
	"math/rand/v2"
	"time"
)

// backoff returns how long to wait after an attempt that failed, the first
// being number 1: first, then twice that, and so on up to most. Up to half of it
// is taken off at random, so that jobs that failed together do not come back
// together.
func backoff(attempt int, first, most time.Duration) time.Duration {
	d := min(first, most)
	for ; attempt > 1 && 0 < d && d < most; attempt-- {
		if d > most/2 {
			d = most
		} else {
			d *= 2
		}
	}
	if d < 2 {
		return d
	}
	return d - rand.N(d/2) //nolint:gosec // nobody gains anything by guessing it
}
