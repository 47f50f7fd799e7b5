package pluginstest

import (
	"testing"
	"time"
)

// patience is how long a wait may take, and reserve what is left of the test
// binary's own time for what comes after.
const (
	patience = time.Minute
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
