package pluginstest

import (
	"testing"
	"time"
)

// patience is how long a wait may take, and reserve what is left of the test
// binary's own time for what comes after.
const (
	patience = 2 * time.Minute
	reserve  = 5 * time.Second
)

// deadline is when a wait that begins now gives up.
func deadline(t testing.TB) time.Time {
	limit := time.Now().Add(patience)
	if t, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if end, ok := t.Deadline(); ok && end.Add(-reserve).Before(limit) {
			limit = end.Add(-reserve)
		}
	}
	return limit
}

// Await asks every few milliseconds until the answer is yes: for what no record of a
// log tells, such as what a worker has done to a database. It fails the test, and
// says what was waited for, at the deadline that all waits of this package have. It
// is for the test's own goroutine.
func Await(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Until(deadline(t)))
	for !done() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
