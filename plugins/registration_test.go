package plugins

import (
	"testing"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// SPEC §2: each static registration has one more thing wrong with it than the
// next, and the first in bgworker.c's order is what it is refused for.
func TestStaticRegistrationsAreRefusedForTheFirstReasonInOrder(t *testing.T) {
	full := func() *registrations { return &registrations{limit: 1, count: 1} }
	w := BackgroundWorker{Name: "w", RestartTime: -2, NotifyPid: 4711}
	for _, want := range []struct {
		fix     func()
		code    elog.SQLState
		message string
	}{
		{func() {}, elog.InvalidParameterValue, `background worker "w": background workers without shared memory access are not supported`},
		{func() { w.Flags = ShmemAccess }, elog.InvalidParameterValue, `background worker "w": invalid restart interval`},
		{func() { w.RestartTime = 0 }, elog.FeatureNotSupported, `background worker "w": only dynamic background workers can request notification`},
		{func() { w.NotifyPid = 0 }, elog.ConfigurationLimitExceeded, "too many background workers"},
	} {
		want.fix()
		if got := full().add(w, Postgres18); got == nil || got.Code != want.code || got.Message != want.message {
			t.Errorf("got %v, want %s: %s", got, want.code, want.message)
		}
	}
	r := &registrations{limit: 1}
	if got := r.add(w, Postgres18); got != nil || len(r.workers) != 1 {
		t.Errorf("with nothing wrong: got %v", got)
	}
}

// A refused worker does not take the place of one that is sane.
func TestOnlySaneRegistrationsCount(t *testing.T) {
	r := &registrations{limit: 1}
	if got := r.add(BackgroundWorker{Name: "bad"}, Postgres18); got == nil {
		t.Error("it was not refused")
	}
	if got := r.add(dynamicWorker("good"), Postgres18); got != nil {
		t.Errorf("got %v", got)
	}
	if got := r.add(dynamicWorker("one more"), Postgres18); got == nil || got.Detail != "Up to 1 background worker can be registered with the current settings." {
		t.Errorf("got %+v", got)
	}
}
