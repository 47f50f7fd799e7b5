package guc_test

import (
	"errors"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func mustDefine(t *testing.T, s *guc.Store, def guc.Definition) []*elog.ErrorData {
	t.Helper()
	reports, err := s.Define(def)
	if err != nil {
		t.Fatal(err)
	}
	return reports
}

func TestDefineAdoptsAPlaceholder(t *testing.T) {
	s := started(t, "\nWorker_SPI.naptime = 007")
	if set, ok := s.Lookup("worker_spi.naptime"); !ok || !set.Placeholder || set.Value.String() != "007" {
		t.Fatalf("got %+v", set)
	}
	wantReports(t, mustDefine(t, s, naptime()))
	set, _ := s.Lookup("worker_spi.naptime")
	if set.Placeholder || set.Value.Int() != 7 || set.Source != guc.SourceFile || set.File != "h.conf" || set.Line != 2 {
		t.Errorf("got %+v", set)
	}
}

func TestDefineWithoutAPlaceholderStartsAtTheDefault(t *testing.T) {
	s := started(t, "")
	wantReports(t, mustDefine(t, s, naptime()))
	wantShow(t, s, "worker_spi.naptime", "10")
	if len(s.Items()) != 0 {
		t.Errorf("got %+v", s.Items())
	}
}

func TestAnInvalidPlaceholderIsAWarningAndTheDefaultHolds(t *testing.T) {
	s := started(t, "worker_spi.naptime = 0", "worker_spi.role=x")
	wantReports(t, mustDefine(t, s, naptime()),
		`WARNING 22023: 0 is outside the valid range for parameter "worker_spi.naptime" (1 .. 2147483647) | DETAIL: The parameter has its default, "10", instead. | CONTEXT: line 1 of configuration file "h.conf"`)
	wantReports(t, mustDefine(t, s, guc.Definition{
		Name: "worker_spi.role", Type: guc.TypeString, Context: guc.Sighup, CheckHook: func(v guc.Value) error {
			if v.String() != "" {
				return errors.New("There are no roles.")
			}
			return nil
		},
	}), `WARNING 22023: invalid value for parameter "worker_spi.role": "x" | DETAIL: There are no roles.`)
	wantShow(t, s, "worker_spi.naptime", "10")
	wantShow(t, s, "worker_spi.role", "")
}

func TestAFileCannotSetAnInternalCustomVariable(t *testing.T) {
	s := started(t, "a.b = 1")
	wantReports(t, mustDefine(t, s, guc.Definition{Name: "a.b", Type: guc.TypeString, Context: guc.Internal}),
		`WARNING 55P02: parameter "a.b" cannot be changed | DETAIL: The parameter has its default, "", instead. | CONTEXT: line 1 of configuration file "h.conf"`)
}

func TestDefineRefuses(t *testing.T) {
	s := started(t, "a.b = 1")
	mustDefine(t, s, naptime())
	s.EndStartup()
	for _, tt := range []struct {
		def  guc.Definition
		want string
	}{
		{naptime(), `ERROR XX000: attempt to redefine parameter "worker_spi.naptime"`},
		{guc.Definition{Name: "Worker_spi.NAPTIME", Type: guc.TypeString}, `ERROR XX000: attempt to redefine parameter "Worker_spi.NAPTIME"`},
		{guc.Definition{Name: "naptime", Type: guc.TypeString}, `ERROR 42602: invalid configuration parameter name "naptime" | DETAIL: Custom parameter names must be two or more simple identifiers separated by dots.`},
		{guc.Definition{Name: "x.y", Type: guc.TypeString, Context: guc.Postmaster}, `FATAL XX000: cannot create PGC_POSTMASTER variables after startup`},
		{guc.Definition{Name: "a.b", Type: guc.TypeBool}, `ERROR 22023: invalid definition of parameter "a.b" | DETAIL: The default is refused: parameter "a.b" requires a Boolean value.`},
	} {
		_, err := s.Define(tt.def)
		wantError(t, err, tt.want)
	}
	if set, _ := s.Lookup("a.b"); !set.Placeholder {
		t.Error("a refused definition took its placeholder away")
	}
}

func TestPostmasterVariablesCanBeDefinedDuringStartup(t *testing.T) {
	s := started(t, "worker_spi.total_workers = 3")
	mustDefine(t, s, guc.Definition{Name: "worker_spi.total_workers", Type: guc.TypeInt, Context: guc.Postmaster, Min: 1, Max: 100, Default: "2"})
	wantShow(t, s, "worker_spi.total_workers", "3")
}

func TestADefinitionIsNotChangedFromOutside(t *testing.T) {
	options := []string{"x", "y"}
	s := started(t, "")
	mustDefine(t, s, guc.Definition{Name: "a.b", Type: guc.TypeEnum, Context: guc.Sighup, EnumOptions: options, Default: "x"})
	options[1] = "z"
	wantReports(t, s.ApplyReload(conf("a.b = y")), `LOG 00000: parameter "a.b" changed to "y"`)
}

func TestMarkPrefixReservedRemovesMisspellings(t *testing.T) {
	s := started(t, "worker_spi.naptime = 3\nWorker_spi.naptme = 4\nworker_spix.a = 1", "worker_spi.x=1")
	mustDefine(t, s, naptime())
	wantReports(t, s.MarkPrefixReserved("worker_spi"),
		`WARNING 42602: invalid configuration parameter name "Worker_spi.naptme", removing it | DETAIL: "worker_spi" is now a reserved prefix. | HINT: Perhaps you meant "worker_spi.naptime". | CONTEXT: line 2 of configuration file "h.conf"`,
		`WARNING 42602: invalid configuration parameter name "worker_spi.x", removing it | DETAIL: "worker_spi" is now a reserved prefix.`)
	wantShow(t, s, "worker_spi.naptime", "3")
	wantShow(t, s, "worker_spix.a", "1")
	if _, ok := s.Lookup("worker_spi.x"); ok {
		t.Error("the placeholder is still there")
	}
	wantReports(t, s.MarkPrefixReserved("worker_spi"))
}

func TestAReservedPrefixIsRefusedLater(t *testing.T) {
	s := started(t, "")
	mustDefine(t, s, naptime())
	s.MarkPrefixReserved("worker_spi")
	wantReports(t, s.ApplyReload(conf("worker_spi.naptme = 3\nworker_spi.naptime = 4")),
		`LOG 42602: invalid configuration parameter name "worker_spi.naptme" | DETAIL: "worker_spi" is a reserved prefix. | HINT: Perhaps you meant "worker_spi.naptime". | CONTEXT: line 1 of configuration file "h.conf"`,
		`LOG 00000: parameter "worker_spi.naptime" changed to "4"`,
		`LOG F0000: configuration file "h.conf" contains errors; unaffected changes were applied`)
	mustDefine(t, s, guc.Definition{Name: "worker_spi.more", Type: guc.TypeString})
}

func TestANameWithAReservedPrefixIsRefusedByItself(t *testing.T) {
	s := started(t, "other.a = 1")
	mustDefine(t, s, naptime())
	if e := s.RefuseName("worker_spi.naptme"); e != nil {
		t.Errorf("refused before the prefix is reserved: %v", e)
	}
	s.MarkPrefixReserved("worker_spi")
	e := s.RefuseName("Worker_SPI.naptme")
	if e == nil || e.Code != elog.InvalidName || e.Detail != `"worker_spi" is a reserved prefix.` || e.Hint != `Perhaps you meant "worker_spi.naptime".` {
		t.Errorf("got %v", e)
	}
	for _, name := range []string{"WORKER_spi.naptime", "other.a", "worker_spix.b", "work_mem", "worker_spi.", ""} {
		if e := s.RefuseName(name); e != nil {
			t.Errorf("%s is refused: %v", name, e)
		}
	}
}
