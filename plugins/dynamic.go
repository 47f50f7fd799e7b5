package plugins

import (
	"errors"
	"math"
	"os"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// ErrNoSlot says that a worker was not registered because a limit of the
// configuration is reached: every one of max_worker_processes slots is taken,
// or the worker is parallel and max_parallel_workers of its kind are
// registered. Its SQLSTATE is 53400, as of static workers that are too many.
//
// RegisterDynamicBackgroundWorker of C returns false then, and leaves it to each
// caller to report that. As an error of Go it says no more than that false: the
// caller can try again later, do the work itself, or return it.
var ErrNoSlot = elog.New(elog.Error, elog.ConfigurationLimitExceeded, "out of background worker slots").
	WithHint("You might need to increase \"%s\".", settings.MaxWorkerProcesses)

// HandleStatus is what is known of the worker behind a handle. Mirrors
// BgwHandleStatus, but for BGWH_POSTMASTER_DIED: that is ErrPostmasterDied.
type HandleStatus = shmem.HandleStatus

// The statuses of a handle.
const (
	// HandleStarted says that the worker's process exists. It may not have
	// reached its main function yet. Mirrors BGWH_STARTED.
	HandleStarted = shmem.HandleStarted
	// HandleNotYetStarted says that the postmaster has not tried to start the
	// worker so far: it has not come to it, or the start time has not come.
	// Mirrors BGWH_NOT_YET_STARTED.
	HandleNotYetStarted = shmem.HandleNotYetStarted
	// HandleStopped says that the worker does not run: it waits to be restarted,
	// or is unregistered, whether it ever ran or not. Which of these,
	// BackgroundWorkers tells. Mirrors BGWH_STOPPED.
	HandleStopped = shmem.HandleStopped
)

// RegisterDynamicBackgroundWorker registers a worker at run time and wakes the
// postmaster, which starts it as soon as its start time has come. It does not
// wait for that: see WaitForBackgroundWorkerStartup. The worker stays registered
// when this process ends. Mirrors the C function of that name.
//
// With NotifyPid: w.Pid() this process's latch is set whenever the worker has
// been started or has ended. Whoever waits for the worker wants that.
//
// It returns an error with SQLSTATE 22023 if the registration is not sane, as
// SanityCheck finds it, [ErrNoSlot] if there is no room, and one with 53000 in
// the process that preloads libraries, where no postmaster listens yet. An Init
// has no Worker to call this with: it registers static workers.
func (w *Worker) RegisterDynamicBackgroundWorker(worker BackgroundWorker) (Handle, error) {
	worker.request = 0 // it may be a copy of an Entry
	return w.register(worker)
}

func (w *Worker) register(worker BackgroundWorker) (Handle, error) {
	switch {
	case w.kind == shmem.ProcFree, w.kind == shmem.ProcPreload:
		return Handle{}, elog.New(elog.Error, elog.InsufficientResources, "cannot start background processes without postmaster")
	case w.segment == nil:
		return Handle{}, w.whyNoSegment()
	}
	if err := worker.SanityCheckAs(w.settings.personality()); err != nil {
		return Handle{}, err
	}
	if worker.NotifyPid < math.MinInt32 || worker.NotifyPid > math.MaxInt32 { // its 32 lower bits may be anybody's
		return Handle{}, elog.New(elog.Error, elog.InvalidParameterValue, "background worker \"%s\": invalid notification process ID", worker.Name)
	}
	slot, generation, err := w.claim(worker)
	if err != nil {
		return Handle{}, err
	}
	return Handle{incarnation: w.segment.Incarnation(), slot: uint32(slot), generation: generation}, nil
}

// The slots know of this flag, too.
var _ = [1]struct{}{}[ClassParallel-shmem.ParallelFlag]

// claim takes a slot and tells the postmaster.
func (w *Worker) claim(worker BackgroundWorker) (slot int, generation uint64, err error) {
	limit := w.settings.store.Int(settings.MaxParallelWorkers)
	w.critical.Lock()
	defer w.critical.Unlock()
	slot, generation, err = w.slots().Claim(worker.Descriptor(), worker.Flags&ClassParallel != 0, uint32(limit))
	switch {
	case err == nil:
		failpoint.Here(failpoint.Claimed)
		w.wakePostmaster(slot)
	case errors.Is(err, shmem.ErrNoFreeSlot):
		err = ErrNoSlot
	case errors.Is(err, shmem.ErrParallelLimit):
		err = elog.New(ErrNoSlot.Level, ErrNoSlot.Code, "%s", ErrNoSlot.Message).
			WithDetail("As many parallel workers are registered as the current settings allow: %d.", limit).
			WithHint("You might need to increase \"%s\".", settings.MaxParallelWorkers).WithCause(ErrNoSlot)
	}
	return slot, generation, err
}

// GetBackgroundWorkerPid returns the status of the worker behind a handle, and
// its pid if that is HandleStarted. Both may have changed by the time it
// returns. It takes no lock and costs a few loads, wherever the handle comes
// from. It returns an error with SQLSTATE 22023 only for a handle that this host
// can't have made. Mirrors the C function of that name.
func (w *Worker) GetBackgroundWorkerPid(h Handle) (status HandleStatus, pid int, err error) {
	if w.segment == nil {
		return HandleStopped, 0, w.whyNoSegment()
	}
	if h.incarnation != w.segment.Incarnation() {
		return HandleStopped, 0, nil
	}
	status, pid, err = w.slots().Pid(int(h.slot), h.generation)
	return status, pid, invalidHandle(err)
}

// TerminateBackgroundWorker makes the worker behind a handle end for good: one
// that runs gets SIGTERM and is not restarted, whatever its exit code; one that
// does not is unregistered. It does not wait: see
// WaitForBackgroundWorkerShutdown. Any process of the host may do it, any number
// of times. Nothing happens if the worker is gone already, even if another has
// its slot by now; that is no error. The errors are GetBackgroundWorkerPid's.
// Mirrors the C function of that name.
func (w *Worker) TerminateBackgroundWorker(h Handle) error {
	if w.segment == nil {
		return w.whyNoSegment()
	}
	if h.incarnation != w.segment.Incarnation() {
		return nil
	}
	w.critical.Lock()
	defer w.critical.Unlock()
	requested, err := w.slots().RequestTermination(int(h.slot), h.generation)
	if requested {
		failpoint.Here(failpoint.TerminateAsked)
		w.wakePostmaster(int(h.slot))
	}
	return invalidHandle(err)
}

// GetBackgroundWorkerTypeByPid returns the type of the background worker,
// static or dynamic, that runs with the given pid, or false if there is none.
// Its cost grows with max_worker_processes. Mirrors the C function of that name.
func (w *Worker) GetBackgroundWorkerTypeByPid(pid int) (string, bool) {
	if w.segment == nil {
		return "", false
	}
	w.critical.Lock()
	defer w.critical.Unlock()
	return w.slots().TypeByPid(pid)
}

// errNoSharedMemory says that the worker was registered without ShmemAccess, as
// PostgreSQL 12 and 13 let it.
var errNoSharedMemory = elog.New(elog.Error, elog.ObjectNotInPrerequisite, "this background worker has no access to shared memory").
	WithHint("Register it with the flag ShmemAccess.")

// errNoPostmaster says that the worker runs by itself, and so is all there is. The
// words and the SQLSTATE are those of a caller in PostgreSQL's single-user mode.
var errNoPostmaster = elog.New(elog.Error, elog.InsufficientResources, "cannot start background processes without postmaster").
	WithHint("This worker runs without a host, as --standalone and package pluginstest run it. Run it under a host to give it others.")

// whyNoSegment says why there is no shared memory.
func (w *Worker) whyNoSegment() error {
	if w.postmasterPid == 0 {
		return errNoPostmaster
	}
	return errNoSharedMemory
}

func (w *Worker) slots() shmem.BackendSlots { return w.segment.BackendSlots(os.Getpid()) }

// wakePostmaster tells the postmaster that a slot has changed.
func (w *Worker) wakePostmaster(slot int) { w.segment.SendSlotChange(w.alarm, slot) }

func invalidHandle(err error) error {
	if err == nil {
		return nil
	}
	return elog.New(elog.Error, elog.InvalidParameterValue, "invalid background worker handle: %v", err).WithCause(err)
}
