package plugins

import (
	"fmt"
	"testing"

	"github.com/pgexthost/pgexthost/shmem"
)

func TestOnlyInterruptibleWorkersInTheDatabaseAreTerminated(t *testing.T) {
	h := fakeHost(t, 5)
	workers := []struct {
		flags    Flags
		pid      int
		database uint32
		want     bool
	}{
		{ShmemAccess | BackendDatabaseConnection | Interruptible, 101, 16384, true},
		{ShmemAccess | BackendDatabaseConnection | Interruptible, 102, 5, false},
		{ShmemAccess | BackendDatabaseConnection, 103, 16384, false},
		{ShmemAccess | BackendDatabaseConnection | Interruptible, 104, 0, false}, // not connected yet
		{ShmemAccess | BackendDatabaseConnection | Interruptible, shmem.DeadPid, 16384, false},
	}
	if h.Worker.HasInterruptibleWorkers() {
		t.Error("there is no worker at all")
	}
	for i, w := range workers {
		worker := dynamicWorker(fmt.Sprint("w", i))
		worker.Flags, worker.StartTime = w.flags, StartAtRecoveryFinished
		if _, err := h.Worker.RegisterDynamicBackgroundWorker(worker); err != nil {
			t.Fatal(err)
		}
	}
	if h.Worker.HasInterruptibleWorkers() {
		t.Error("none of them runs")
	}
	for i, w := range workers {
		h.Slots.SetPid(i, w.pid)
		if proc := h.Segment.Proc(i + 1); w.pid > 0 {
			proc.SetPid(w.pid)
			proc.ReportDatabase("d", w.database)
		}
	}
	if !h.Worker.HasInterruptibleWorkers() {
		t.Error("some of them run")
	}
	if n := h.Worker.TerminateBackgroundWorkersForDatabase(0); n != 0 {
		t.Errorf("%d workers were in no database", n)
	}
	if n := h.Worker.TerminateBackgroundWorkersForDatabase(16384); n != 1 {
		t.Errorf("%d workers were terminated", n)
	}
	for i, w := range workers {
		if got := h.Slots.Terminate(i, 1); got != w.want {
			t.Errorf("worker %d: terminated is %v", i, got)
		}
	}
	if !h.Segment.TakePostmasterSignal(shmem.PMSignalBackgroundWorkerChange) {
		t.Error("the postmaster was not told")
	}
	if n := h.Worker.TerminateBackgroundWorkersForDatabase(16384); n != 0 {
		t.Errorf("%d workers were terminated twice", n)
	}
}
