package plugins

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// RegisterHeldBackgroundWorker registers a worker as
// RegisterDynamicBackgroundWorker does, but its main function does not run before
// ReleaseBackgroundWorker. Its process is started all the same, and loads its
// library: HandleStarted says no more than that.
//
// It is for a launcher that must start a worker exactly once for a request kept
// elsewhere, say, in a table. The launcher registers the worker held, commits that
// the request has started, and then releases the worker. If the launcher dies in
// between, its successor finds the worker by its request, which is any number
// above 0, in BackgroundWorkers, and releases or terminates it, whatever the table
// says. If the host dies, main has never run.
//
// A worker that is terminated while it is held, or whose host dies, ends without
// running main. One that was released, and restarts, is not held again. A held
// registration does not survive a crash that has shared memory made anew, released
// or not, whatever its RestartTime: its launcher's successor registers it again if
// it still should be.
//
// The errors are those of RegisterDynamicBackgroundWorker, and one with SQLSTATE
// 22023 for a request that is not above 0, or a worker without ShmemAccess.
// PostgreSQL has no such function.
func (w *Worker) RegisterHeldBackgroundWorker(worker BackgroundWorker, request int64) (Handle, error) {
	refuse := func(what string) (Handle, error) {
		return Handle{}, elog.New(elog.Error, elog.InvalidParameterValue, "background worker \"%s\": %s", worker.Name, what)
	}
	switch {
	case request <= 0:
		return refuse("invalid request number")
	case worker.Flags&ShmemAccess == 0:
		return refuse("must attach to shared memory in order to be held")
	}
	worker.request = request
	h, err := w.register(worker)
	if err == nil {
		failpoint.Here(failpoint.HeldRegistered)
	}
	return h, err
}

// ReleaseBackgroundWorker lets the main function of a held worker run, now or as
// soon as the worker has come to it. Any process of the host may do it, any number
// of times. Nothing happens if the worker is gone already, even if another has its
// slot by now, nor if it was terminated before; that is no error. The errors are
// GetBackgroundWorkerPid's.
func (w *Worker) ReleaseBackgroundWorker(h Handle) error {
	if w.segment == nil {
		return w.whyNoSegment()
	}
	if h.incarnation != w.segment.Incarnation() {
		return nil
	}
	w.critical.Lock()
	defer w.critical.Unlock()
	slots := w.slots()
	opened, err := slots.OpenGate(int(h.slot), h.generation)
	if opened {
		slots.WakeAtGate(int(h.slot))
		failpoint.Here(failpoint.GateWoken)
	}
	return invalidHandle(err)
}

// gate is where the process of a held worker waits before main. The zero gate is
// that of a worker that is not held.
type gate struct {
	request    int64
	slot       int
	generation uint64
}

// pass returns when the gate is open, and an error if the worker shall end
// instead. The latch wakes it; that it looks once a second, too, is for the death
// of who has opened the gate before it could set the latch. As after any wait for
// a worker, the latch is left set if anybody has set it.
func (g gate) pass(w *Worker) error {
	if g.request == 0 {
		return nil
	}
	if w.segment == nil {
		return w.whyNoSegment()
	}
	failpoint.Here(failpoint.AtGate)
	w.letDie(true)
	err := w.waitForWorker(w.ctx, WaitEvent{Class: shmem.WaitClassIPC, Name: "HeldWorkerRelease"}, func() (bool, error) {
		return w.slots().MayPass(g.slot, g.generation)
	})
	w.letDie(false)
	if err == nil { // a SIGTERM may just have come in
		err = context.Cause(w.ctx)
	}
	if err == nil {
		failpoint.Here(failpoint.GatePassed)
	}
	return err
}

// recordBeginning leaves a file for a later host, which has to know whether main
// has begun. Without the directory for it nobody wants to know.
func (g gate) recordBeginning(w *Worker) error {
	if g.request == 0 {
		return nil
	}
	h := Handle{incarnation: w.segment.Incarnation(), slot: uint32(g.slot), generation: g.generation}
	// Limits, or what Init has done, may have led to another working directory.
	path := filepath.Join(filepath.Dir(w.settings.configFile), settings.BegunDir, h.String())
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return elog.New(elog.Error, elog.FileAccessCode(err), "could not create file \"%s/%s\": %s", settings.BegunDir, h, elog.OSReason(err)).WithCause(err)
	}
	err = file.Close()
	failpoint.Here(failpoint.BeginningMarked)
	return err
}

// letDie makes SIGTERM end the process though signals are blocked, because it
// waits for something that may never come, or no longer. One that has arrived
// already counts. All other signals stay what they are: main has not said yet what
// it makes of them.
func (w *Worker) letDie(mortal bool) {
	w.signals.mu.Lock()
	w.signals.mortal = mortal
	arrived := mortal && w.signals.pending[unix.SIGTERM]
	if arrived {
		delete(w.signals.pending, unix.SIGTERM)
	}
	w.signals.mu.Unlock()
	if arrived {
		w.handle(unix.SIGTERM) // Die: nobody can have installed another yet
	}
}
