package plugins

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/shmem"
)

// signalWorker is a worker whose signals are unblocked, without the goroutine
// that catches them; got counts those it has handled.
func signalWorker(t *testing.T) (w *Worker, got map[unix.Signal]int) {
	t.Helper()
	w, got = testWorker(t), make(map[unix.Signal]int)
	w.signals.unblocked = make(chan struct{}, 1)
	w.signals.pending = make(map[unix.Signal]bool)
	w.signals.handlers = make(map[unix.Signal]SignalHandler)
	for _, b := range blockable {
		w.signals.handlers[b.sig] = func(*Worker) { got[b.sig]++ }
	}
	w.UnblockSignals()
	return w, got
}

func TestBlockedSignalsAreHeldBackOneByOne(t *testing.T) {
	for _, b := range blockable {
		w, got := signalWorker(t)
		w.arrived(b.sig)
		w.BlockSignals()
		w.arrived(b.sig)
		w.arrived(b.sig)
		if got[b.sig] != 1 || w.signals.takePending() != nil {
			t.Errorf("%v: it was handled %d times while blocked", b.sig, got[b.sig]-1)
		}
		w.UnblockSignals()
		select {
		case <-w.signals.unblocked:
		default:
			t.Errorf("%v: nobody is told", b.sig)
		}
		if pending := w.signals.takePending(); len(pending) != 1 || !pending[b.sig] {
			t.Errorf("%v: got %v", b.sig, pending)
		}
	}
}

// While signals are blocked the postmaster leaves a request and sends none.
func TestThePostmasterLeavesRequestsWhileSignalsAreBlocked(t *testing.T) {
	w, _ := signalWorker(t)
	if !w.proc.Request(shmem.RequestHup) {
		t.Fatal("it is not ready")
	}
	w.BlockSignals()
	for _, b := range blockable {
		if w.proc.Request(b.request) {
			t.Errorf("%v would be sent", b.sig)
		}
	}
	w.UnblockSignals()
	if pending := w.signals.takePending(); len(pending) != len(blockable) {
		t.Errorf("got %v", pending)
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
