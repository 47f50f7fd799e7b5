package plugins

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// signalWorker is a worker whose signals are unblocked, without the goroutine
// that catches them; got counts those it has handled.
func signalWorker(t *testing.T) (w *Worker, got map[unix.Signal]int) {
	t.Helper()
	w, got = testWorker(t), make(map[unix.Signal]int)
	w.signals.unblocked = make(chan struct{}, 1)
	w.signals.pending = make(map[unix.Signal]bool)
	w.signals.handlers = make(map[unix.Signal]SignalHandler)
	for _, sig := range blockable {
		w.signals.handlers[sig] = func(*Worker) { got[sig]++ }
	}
	w.UnblockSignals()
	return w, got
}

func TestBlockedSignalsAreHeldBackOneByOne(t *testing.T) {
	for _, sig := range blockable {
		w, got := signalWorker(t)
		w.arrived(sig)
		w.BlockSignals()
		w.arrived(sig)
		w.arrived(sig)
		if got[sig] != 1 || w.signals.takePending() != nil {
			t.Errorf("%v: it was handled %d times while blocked", sig, got[sig]-1)
		}
		w.UnblockSignals()
		select {
		case <-w.signals.unblocked:
		default:
			t.Errorf("%v: nobody is told", sig)
		}
		if pending := w.signals.takePending(); len(pending) != 1 || !pending[sig] {
			t.Errorf("%v: got %v", sig, pending)
		}
	}
}

// SPEC §10.
func TestGracePeriodsOfSPEC10(t *testing.T) {
	if deafMainGrace != 5*time.Second {
		t.Errorf("a deaf main has %v", deafMainGrace)
	}
	if postmasterDeathGrace != 500*time.Millisecond {
		t.Errorf("a worker outlives its host by %v", postmasterDeathGrace)
	}
}
