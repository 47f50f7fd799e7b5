package plugins

import (
	"errors"
	"fmt"
	"testing"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// fakeHost is a FakeHost for one test.
func fakeHost(t *testing.T, slots int, options ...string) *FakeHost {
	t.Helper()
	h, err := NewFakeHost(slots, options...)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Alarm.Close() })
	return h
}

// register registers a worker that nothing is wrong about.
func (h *FakeHost) register(t *testing.T) Handle {
	t.Helper()
	handle, err := h.Worker.RegisterDynamicBackgroundWorker(dynamicWorker("dynamic"))
	if err != nil {
		t.Fatal(err)
	}
	return handle
}

func dynamicWorker(name string) BackgroundWorker {
	return BackgroundWorker{Name: name, Flags: ShmemAccess, RestartTime: NeverRestart, LibraryName: "lib", FunctionName: "f"}
}

func parallelWorker(name string) BackgroundWorker {
	w := dynamicWorker(name)
	w.Flags |= ClassParallel
	return w
}

func wantStatus(t *testing.T, w *Worker, h Handle, status HandleStatus, pid int) {
	t.Helper()
	if gotStatus, gotPid, err := w.GetBackgroundWorkerPid(h); err != nil || gotStatus != status || gotPid != pid {
		t.Errorf("got %v, %d, %v; want %v, %d", gotStatus, gotPid, err, status, pid)
	}
}

func TestBackgroundWorkersSayWhatTheyReport(t *testing.T) {
	h := fakeHost(t, 1)
	h.register(t)
	proc := h.Segment.Proc(1)
	proc.SetPid(4711)
	h.Slots.SetPid(0, 4711)
	for _, want := range []ActivityState{StateRunning, StateIdleInTransaction, StateIdle} {
		proc.ReportActivity(want, "SELECT 1")
		all := h.Worker.BackgroundWorkers()
		if len(all) != 1 || all[0].State != WorkerRunning || all[0].ActivityState != want || all[0].Activity != "SELECT 1" {
			t.Errorf("%d: got %+v", want, all)
		}
	}
}

// The states of SPEC §3, and what the end of one that does not run looks like.
func TestTheStateOfAWorkerIsThatOfItsSlot(t *testing.T) {
	h := fakeHost(t, 1)
	handle := h.register(t)
	want := func(state WorkerState, pid int) {
		t.Helper()
		if all := h.Worker.BackgroundWorkers(); len(all) != 1 || all[0].State != state || all[0].Pid != pid {
			t.Errorf("got %+v, want %s", all, state)
		}
	}
	want(WorkerNotYetStarted, 0)
	h.Slots.SetPid(0, 4711)
	want(WorkerRunning, 4711)
	h.Slots.SetPid(0, shmem.DeadPid)
	want(WorkerWaiting, 0)
	if err := h.Worker.TerminateBackgroundWorker(handle); err != nil {
		t.Fatal(err)
	}
	want(WorkerStopped, 0)
	h.Slots.SetPid(0, 4711)
	want(WorkerRunning, 4711) // it has not noticed yet
	h.Slots.Release(0, false)
	if all := h.Worker.BackgroundWorkers(); len(all) != 0 {
		t.Errorf("got %+v", all)
	}
}

func TestADynamicRegistrationReachesThePostmaster(t *testing.T) {
	h := fakeHost(t, 2)
	w := BackgroundWorker{
		Name: "a name", Flags: ShmemAccess | BackendDatabaseConnection, StartTime: StartAtRecoveryFinished, RestartTime: 7,
		LibraryName: "lib", FunctionName: "f", MainArg: -1, Extra: [BGWExtraLen]byte{1, 2}, NotifyPid: h.Worker.Pid(),
	}
	handle, err := h.Worker.RegisterDynamicBackgroundWorker(w)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Segment.TakePostmasterSignal(shmem.PMSignalBackgroundWorkerChange) {
		t.Fatal("the postmaster was not told")
	}
	if err := h.Alarm.Wait(); err != nil {
		t.Errorf("the alarm was not rung: %v", err)
	}
	w.Type = "a name" // copied from the name where it is empty
	if got := FromDescriptor(h.Slots.Descriptor(0)); got != w || !h.Slots.InUse(0) || h.Slots.InUse(1) {
		t.Errorf("got %+v", got)
	}
	wantStatus(t, h.Worker, handle, HandleNotYetStarted, 0)
}

// SPEC §2: what is wrong with a worker comes before what is wrong with the
// moment, in the order of bgworker.c, and leaves no trace.
func TestDynamicRegistrationsThatAreRefused(t *testing.T) {
	full := fakeHost(t, 0)
	flawed := func(change func(*BackgroundWorker)) BackgroundWorker {
		w := dynamicWorker("w")
		change(&w)
		return w
	}
	for _, tt := range []struct {
		worker BackgroundWorker
		code   elog.SQLState
		want   string
	}{
		{
			flawed(func(w *BackgroundWorker) { w.Flags, w.RestartTime = BackendDatabaseConnection, -2 }), elog.InvalidParameterValue,
			`background worker "w": background workers without shared memory access are not supported`,
		},
		{
			flawed(func(w *BackgroundWorker) { w.Flags, w.RestartTime = ShmemAccess|BackendDatabaseConnection, -2 }), elog.InvalidParameterValue,
			`background worker "w": cannot request database access if starting at postmaster start`,
		},
		{
			flawed(func(w *BackgroundWorker) { w.RestartTime = -2 }), elog.InvalidParameterValue,
			`background worker "w": invalid restart interval`,
		},
		{
			flawed(func(w *BackgroundWorker) { w.Flags, w.RestartTime = ShmemAccess|ClassParallel, 0 }), elog.InvalidParameterValue,
			`background worker "w": parallel workers may not be configured for restart`,
		},
		{
			flawed(func(w *BackgroundWorker) { w.NotifyPid = 1<<32 + 1 }), elog.InvalidParameterValue,
			`background worker "w": invalid notification process ID`,
		},
		{dynamicWorker("w"), elog.ConfigurationLimitExceeded, "out of background worker slots"},
	} {
		h, err := full.Worker.RegisterDynamicBackgroundWorker(tt.worker)
		if elog.CodeOf(err) != tt.code || err.Error() != tt.want || h != (Handle{}) {
			t.Errorf("got %v, %v (%s)", h, err, elog.CodeOf(err))
		}
		if errors.Is(err, ErrNoSlot) != (tt.code == elog.ConfigurationLimitExceeded) {
			t.Errorf("%v is taken for ErrNoSlot, or not", err)
		}
	}
	if full.Segment.TakePostmasterSignal(shmem.PMSignalBackgroundWorkerChange) {
		t.Error("the postmaster was woken for nothing")
	}
}

func TestOnlyAChildCanRegisterDynamicWorkers(t *testing.T) {
	preloading := fakeHost(t, 1).Worker
	preloading.kind = shmem.ProcPreload
	for name, w := range map[string]*Worker{"preload child": preloading, "no child at all": {}} {
		_, err := w.RegisterDynamicBackgroundWorker(dynamicWorker("w"))
		if elog.CodeOf(err) != elog.InsufficientResources || err.Error() != "cannot start background processes without postmaster" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAFullHostSaysWhichSettingKeepsAWorkerOut(t *testing.T) {
	for _, tt := range []struct {
		slots        int
		limit        string
		worker       BackgroundWorker
		detail, hint string
	}{
		{0, "8", dynamicWorker("w"), "", `You might need to increase "max_worker_processes".`},
		{0, "1", parallelWorker("w"), "", `You might need to increase "max_worker_processes".`},
		{
			1, "0", parallelWorker("w"), "As many parallel workers are registered as the current settings allow: 0.",
			`You might need to increase "max_parallel_workers".`,
		},
	} {
		_, err := fakeHost(t, tt.slots, "max_parallel_workers="+tt.limit).Worker.RegisterDynamicBackgroundWorker(tt.worker)
		var report *elog.ErrorData
		if !errors.As(err, &report) || !errors.Is(err, ErrNoSlot) || report.Code != "53400" || report.Detail != tt.detail || report.Hint != tt.hint {
			t.Errorf("got %+v", report)
		}
	}
}

func TestAStaleHandleIsStoppedAndTerminatesNobody(t *testing.T) {
	h := fakeHost(t, 1)
	w := h.Worker
	first := h.register(t)
	h.Slots.SetPid(0, 4711)
	wantStatus(t, w, first, HandleStarted, 4711)
	h.Slots.SetPid(0, shmem.DeadPid)
	wantStatus(t, w, first, HandleStopped, 0)
	h.Slots.Release(0, false)
	second := h.register(t)
	h.Slots.SetPid(0, 4712)
	h.Segment.TakePostmasterSignal(shmem.PMSignalBackgroundWorkerChange)

	rebuilt := second
	rebuilt.incarnation++
	for name, stale := range map[string]Handle{"of the slot's last worker": first, "of other shared memory": rebuilt, "zero": {}} {
		wantStatus(t, w, stale, HandleStopped, 0)
		for range 2 {
			if err := w.TerminateBackgroundWorker(stale); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if h.Slots.Terminate(0, h.Slots.Generation(0)) || h.Segment.TakePostmasterSignal(shmem.PMSignalBackgroundWorkerChange) {
			t.Errorf("%s: it terminated another worker", name)
		}
	}
	wantStatus(t, w, second, HandleStarted, 4712)
	for range 2 {
		if err := w.TerminateBackgroundWorker(second); err != nil || !h.Slots.Terminate(0, h.Slots.Generation(0)) {
			t.Errorf("got %v", err)
		}
		if !h.Segment.TakePostmasterSignal(shmem.PMSignalBackgroundWorkerChange) {
			t.Error("the postmaster was not told")
		}
	}
}

func TestAHandleThatThisHostCannotHaveMadeIsAnError(t *testing.T) {
	h := fakeHost(t, 2)
	handle := h.register(t)
	handle.slot = 2
	_, _, err := h.Worker.GetBackgroundWorkerPid(handle)
	for _, err := range []error{
		err, h.Worker.TerminateBackgroundWorker(handle), h.Worker.WaitForBackgroundWorkerShutdown(t.Context(), handle),
	} {
		if elog.CodeOf(err) != elog.InvalidParameterValue {
			t.Errorf("got %v", err)
		}
	}
}

func TestTypeByPidIsTheRegisteredType(t *testing.T) {
	h := fakeHost(t, 2)
	worker := dynamicWorker("name")
	worker.Type = "type"
	if _, err := h.Worker.RegisterDynamicBackgroundWorker(worker); err != nil {
		t.Fatal(err)
	}
	h.Slots.SetPid(0, 4711)
	for pid, want := range map[int]string{4711: "type true", 4712: " false", -1: " false", 0: " false"} {
		typ, ok := h.Worker.GetBackgroundWorkerTypeByPid(pid)
		if got := fmt.Sprint(typ, " ", ok); got != want {
			t.Errorf("pid %d: got %q", pid, got)
		}
	}
}

// An orderly exit must not leave a lock of shared memory behind, which another
// goroutine of the process may hold.
func TestAProcessDoesNotEndCleanlyInsideSharedMemory(t *testing.T) {
	t.Parallel()
	w := fakeHost(t, 1).Worker
	w.critical.Lock()
	if w.leaveSharedMemory() {
		t.Error("it left while somebody may have held a lock")
	}
	w.critical.Unlock()
	if w = fakeHost(t, 1).Worker; !w.leaveSharedMemory() || w.critical.TryLock() {
		t.Error("it did not leave, or somebody can come in afterwards")
	}
}
