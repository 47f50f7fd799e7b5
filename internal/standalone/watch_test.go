package standalone

import (
	"testing"

	"github.com/pgexthost/pgexthost/shmem"
)

// begin begins a wait that ends when over is set, and counts how often it is woken.
func begin(w *Watch, name string, timed bool) (x *Wait, over *bool, woken *int) {
	over, woken = new(bool), new(int)
	x = w.Begin(shmem.WaitEvent{Class: shmem.WaitClassExtension, Name: name}, timed, func() bool { return *over }, func() { *woken++ })
	return x, over, woken
}

func want(t *testing.T, w *Watch, waiting bool, name string, slept int) {
	t.Helper()
	s := w.State()
	if s.Waiting != waiting || s.Event.Name != name || s.Slept != slept {
		t.Errorf("got %+v, want waiting %v for %q, slept %d", s, waiting, name, slept)
	}
}

func TestAWaitCountsFromItsFirstSleepToItsEnd(t *testing.T) {
	w := NewWatch()
	want(t, w, false, "", 0)
	x, _, _ := begin(w, "one", true)
	want(t, w, false, "", 0)
	x.Sleeps()
	x.Sleeps() // it was woken for nothing
	want(t, w, true, "one", 1)
	x.End()
	want(t, w, false, "", 1)
}

func TestAWaitThatSomethingHasEndedIsNone(t *testing.T) {
	w := NewWatch()
	x, over, woken := begin(w, "one", true)
	x.Sleeps()
	*over = true
	want(t, w, false, "", 1)
	if w.Expire() || *woken != 0 || x.Expired() {
		t.Error("it has expired")
	}
}

func TestAWaitExpiresOnceAndOnlyIfItHasATimeOut(t *testing.T) {
	w := NewWatch()
	x, _, woken := begin(w, "one", true)
	x.Sleeps()
	if !w.Expire() || w.Expire() || !x.Expired() || *woken != 1 {
		t.Errorf("expired %v, woken %d times", x.Expired(), *woken)
	}
	<-x.Woken()
	want(t, w, false, "", 1)
	x.End()
	y, _, _ := begin(w, "two", false)
	y.Sleeps()
	if w.Expire() || y.Expired() {
		t.Error("a wait without a time-out has expired")
	}
}

// A worker may have goroutines.
func TestOfSeveralWaitsTheLastOneCounts(t *testing.T) {
	w := NewWatch()
	x, _, _ := begin(w, "one", true)
	y, _, _ := begin(w, "two", true)
	x.Sleeps()
	y.Sleeps()
	want(t, w, true, "two", 2)
	y.End()
	want(t, w, true, "one", 2)
	x.End()
	want(t, w, false, "", 2)
}

func TestEveryChangeIsAnnounced(*testing.T) {
	w := NewWatch()
	x, _, _ := begin(w, "one", true)
	changed := w.State().Changed
	x.Sleeps()
	<-changed
	changed = w.State().Changed
	x.End()
	<-changed
}

func TestAWorkerThatNobodyWatchesIsNotKept(t *testing.T) {
	x, _, _ := begin(nil, "one", true)
	x.Sleeps()
	x.End()
	if x != nil || x.Expired() || x.Woken() != nil {
		t.Error("there is a wait")
	}
}
