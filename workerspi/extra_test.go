package workerspi

import (
	"testing"
	"testing/quick"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
)

func TestExtraSurvivesTheRegistration(t *testing.T) {
	roundTrip := func(database, role, flags uint32) bool {
		want := Extra{Database: database, Role: role, Flags: connect.Flags(flags)}
		return DecodeExtra(DynamicWorker(1, want).Extra) == want
	}
	if err := quick.Check(roundTrip, nil); err != nil {
		t.Error(err)
	}
}

func TestExtraIsThreeNumbersOfFourBytes(t *testing.T) {
	want := [plugins.BGWExtraLen]byte{1, 2, 3, 4, 5, 6, 7, 8, 3}
	if got := (Extra{Database: 0x04030201, Role: 0x08070605, Flags: 3}).Encode(); got != want {
		t.Errorf("got %v", got)
	}
	if got := DecodeExtra([plugins.BGWExtraLen]byte{}); got != (Extra{}) {
		t.Errorf("nothing: got %+v", got)
	}
}

func TestRegistrationsAreSaneAndNamedAsInPostgreSQL(t *testing.T) {
	for _, tt := range []struct {
		worker     plugins.BackgroundWorker
		name, kind string
	}{
		{staticWorker(2), "worker_spi worker 2", "worker_spi"},
		{DynamicWorker(3, Extra{}), "worker_spi dynamic worker 3", "worker_spi dynamic"},
	} {
		w := tt.worker
		if err := w.SanityCheck(); err != nil {
			t.Error(err)
		}
		if w.Name != tt.name || w.Type != tt.kind {
			t.Errorf("got %q, %q", w.Name, w.Type)
		}
		if w.StartTime != plugins.StartAtRecoveryFinished || w.RestartTime != plugins.NeverRestart {
			t.Errorf("%s: got start time %v, restart time %d", w.Name, w.StartTime, w.RestartTime)
		}
	}
	if got := staticWorker(2).MainArg; got != 2 {
		t.Errorf("main argument: got %d", got)
	}
}

func TestLibraryHasTheFunctionItsWorkersStartIn(t *testing.T) {
	l := Library()
	w := staticWorker(1)
	if _, ok := l.Functions[w.FunctionName]; !ok || w.LibraryName != l.Name {
		t.Errorf("got library %q, functions %v", l.Name, l.Functions)
	}
}
