package queue

import (
	"testing"
	"time"
)

func TestBackoffDoublesUpToItsLimitAndSpreads(t *testing.T) {
	t.Parallel()
	const first, most = 5 * time.Second, time.Hour
	for attempt, whole := range map[int]time.Duration{1: first, 2: 2 * first, 5: 16 * first, 10: 512 * first, 11: most, 12: most, 1 << 30: most} {
		seen := make(map[time.Duration]bool)
		for range 100 {
			d := backoff(attempt, first, most)
			if d > whole || d < whole/2 {
				t.Errorf("after attempt %d: %s, want %s to %s", attempt, d, whole/2, whole)
			}
			seen[d] = true
		}
		if len(seen) < 50 {
			t.Errorf("after attempt %d there are %d values of 100", attempt, len(seen))
		}
	}
}

func TestBackoffHasNoMinimum(t *testing.T) {
	t.Parallel()
	if d := backoff(7, 0, time.Hour); d != 0 {
		t.Errorf("without a delay: %s", d)
	}
	if d := backoff(1, time.Hour, time.Minute); d > time.Minute {
		t.Errorf("a delay that is longer than the limit: %s", d)
	}
	if d := backoff(100, time.Nanosecond, time.Duration(1<<63-1)); d <= 0 {
		t.Errorf("the longest delay there is: %s", d)
	}
}
