package plugins

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// A host that has a process for a worker and no worker for it has lost its way;
// so has a program that does not know the auxiliary process it shall be.
func TestAProcessWithoutAnEntryEndsAtOnce(t *testing.T) {
	for aux, want := range map[string]string{
		"":        "unable to find bgworker entry",
		"nothing": `auxiliary process "nothing" not found`,
	} {
		c := &child{worker: fakeHost(t, 1).Worker}
		c.startup.Auxiliary = aux
		if aux != "" {
			c.worker.kind = shmem.ProcAuxiliary
		}
		var e *elog.ErrorData
		if err := c.runMain(nil); !errors.As(err, &e) || e.Level != elog.Fatal || e.Code != elog.InternalError || e.Message != want {
			t.Errorf("%q: got %v", aux, err)
		}
	}
}

// A session that could not be opened does not keep the worker from trying again.
func TestASessionThatWasRefusedIsNone(t *testing.T) {
	w := fakeHost(t, 1).Worker
	w.entry.Flags |= BackendDatabaseConnection
	refused := errors.New("no")
	for range 2 {
		if err := w.InitializeSession(func() (Session, error) { return nil, refused }); !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
	}
}

// The settings may change between the start of the process and that of its main
// function.
func TestAnAuxiliaryProcessHearsOfNewSettingsFromItsBeginning(t *testing.T) {
	w := fakeHost(t, 1).Worker
	for kind, want := range map[shmem.ProcKind]bool{shmem.ProcWorker: false, shmem.ProcAuxiliary: true} {
		w.kind = kind
		w.defaultHandler(unix.SIGHUP)(w)
		if got := w.ConfigReloadPending(); got != want {
			t.Errorf("kind %v: a reload is pending: %v", kind, got)
		}
	}
}
