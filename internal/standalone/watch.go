package standalone

import (
	"sync"

	"github.com/pgexthost/pgexthost/shmem"
)

// Watch follows the waits of one worker, which tells it of each, for a test that
// looks at them. All methods are safe for concurrent use, and those that return
// what there is do nothing on a nil Watch: workers of a host have none.
type Watch struct {
	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, at each change
	slept   int           // waits in which the worker has slept
	waits   []*Wait       // begun and not ended; the last one counts
}

// NewWatch returns a Watch of a worker that does not wait yet.
func NewWatch() *Watch { return &Watch{changed: make(chan struct{})} }

// Wait is one wait of a worker. Its methods do nothing on a nil Wait.
type Wait struct {
	watch   *Watch
	event   shmem.WaitEvent
	timed   bool
	over    func() bool
	wake    func()
	woken   chan struct{} // closed when expired
	asleep  bool
	expired bool
}

// Begin says that the worker begins to wait. Timed: with a time-out. Over reports
// whether the wait is about to end by itself, and wake makes it look at Expired
// again; both are called from other goroutines, over under a lock of the Watch.
func (w *Watch) Begin(event shmem.WaitEvent, timed bool, over func() bool, wake func()) *Wait {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	x := &Wait{watch: w, event: event, timed: timed, over: over, wake: wake, woken: make(chan struct{})}
	w.waits = append(w.waits, x)
	return x
}

// Sleeps says that there is nothing to be found without sleeping.
func (x *Wait) Sleeps() {
	if x == nil {
		return
	}
	x.watch.mu.Lock()
	defer x.watch.mu.Unlock()
	if !x.asleep {
		x.asleep = true
		x.watch.slept++
		x.watch.announce()
	}
}

// Expired reports whether the time-out shall count as passed.
func (x *Wait) Expired() bool {
	if x == nil {
		return false
	}
	x.watch.mu.Lock()
	defer x.watch.mu.Unlock()
	return x.expired
}

// Woken is closed when the time-out shall count as passed, for waits that wake
// does not reach.
func (x *Wait) Woken() <-chan struct{} {
	if x == nil {
		return nil
	}
	return x.woken
}

// End says that the wait is over.
func (x *Wait) End() {
	if x == nil {
		return
	}
	x.watch.mu.Lock()
	defer x.watch.mu.Unlock()
	for i, other := range x.watch.waits {
		if other == x {
			x.watch.waits = append(x.watch.waits[:i:i], x.watch.waits[i+1:]...)
			break
		}
	}
	x.watch.announce()
}

// announce tells those who look that they should look again.
func (w *Watch) announce() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// State is what a Watch sees.
type State struct {
	Waiting bool            // in a wait that nothing has ended yet
	Event   shmem.WaitEvent // of that wait
	Timed   bool            // it has a time-out
	Slept   int             // waits so far, with this one
	Changed <-chan struct{} // closed at the next change
}

// State returns what the worker is doing. A wait that something has ended counts
// as over, even if the worker does not know yet.
func (w *Watch) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := State{Slept: w.slept, Changed: w.changed}
	if x := w.last(); x != nil {
		s.Waiting, s.Event, s.Timed = true, x.event, x.timed
	}
	return s
}

func (w *Watch) last() *Wait {
	if len(w.waits) == 0 {
		return nil
	}
	if x := w.waits[len(w.waits)-1]; x.asleep && !x.expired && !x.over() {
		return x
	}
	return nil
}

// Expire lets the wait that the worker is in return as if its time-out had passed,
// and reports whether there was one to do so.
func (w *Watch) Expire() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.last()
	if x == nil || !x.timed {
		return false
	}
	x.expired = true
	close(x.woken)
	x.wake()
	return true
}
