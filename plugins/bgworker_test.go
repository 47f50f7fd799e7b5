package plugins_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// The checks of SPEC §2, in its order.
func TestSanityCheckOfSPEC2(t *testing.T) {
	const db = plugins.BackendDatabaseConnection
	for name, tt := range map[string]struct {
		worker plugins.BackgroundWorker
		want   string
	}{
		"no shared memory":         {plugins.BackgroundWorker{Flags: db}, "background workers without shared memory access are not supported"},
		"database at start":        {plugins.BackgroundWorker{Flags: plugins.ShmemAccess | db}, "cannot request database access if starting at postmaster start"},
		"interruptible":            {plugins.BackgroundWorker{Flags: plugins.ShmemAccess | plugins.Interruptible}, "cannot make background workers interruptible without database access"},
		"negative interval":        {plugins.BackgroundWorker{Flags: plugins.ShmemAccess, RestartTime: -2}, "invalid restart interval"},
		"long interval":            {plugins.BackgroundWorker{Flags: plugins.ShmemAccess, RestartTime: plugins.MaxRestartInterval + 1}, "invalid restart interval"},
		"parallel restarts":        {plugins.BackgroundWorker{Flags: plugins.ShmemAccess | plugins.ClassParallel, RestartTime: 0}, "parallel workers may not be configured for restart"},
		"first of several":         {plugins.BackgroundWorker{Flags: plugins.Interruptible, RestartTime: -5}, "background workers without shared memory access are not supported"},
		"database, then interval":  {plugins.BackgroundWorker{Flags: plugins.ShmemAccess | db, RestartTime: -2}, "cannot request database access if starting at postmaster start"},
		"flags, then interval":     {plugins.BackgroundWorker{Flags: plugins.ShmemAccess | plugins.Interruptible, RestartTime: -2}, "cannot make background workers interruptible without database access"},
		"interval, then class":     {plugins.BackgroundWorker{Flags: plugins.ShmemAccess | plugins.ClassParallel, RestartTime: -2}, "invalid restart interval"},
		"start time":               {plugins.BackgroundWorker{Flags: plugins.ShmemAccess, StartTime: 3}, "invalid start time"},
		"name too long":            {plugins.BackgroundWorker{Name: strings.Repeat("n", 96), Flags: plugins.ShmemAccess}, "name is too long"},
		"type too long":            {plugins.BackgroundWorker{Type: strings.Repeat("t", 96), Flags: plugins.ShmemAccess}, "type is too long"},
		"library too long":         {plugins.BackgroundWorker{LibraryName: strings.Repeat("l", 1024), Flags: plugins.ShmemAccess}, "library name is too long"},
		"function too long":        {plugins.BackgroundWorker{FunctionName: strings.Repeat("f", 96), Flags: plugins.ShmemAccess}, "function name is too long"},
		"null byte":                {plugins.BackgroundWorker{Type: "a\x00b", Flags: plugins.ShmemAccess}, "type contains a null byte"},
		"all that is right":        {plugins.BackgroundWorker{Name: strings.Repeat("n", 95), Flags: plugins.ShmemAccess | db, StartTime: 1, RestartTime: plugins.MaxRestartInterval}, ""},
		"parallel, never restarts": {plugins.BackgroundWorker{Flags: plugins.ShmemAccess | plugins.ClassParallel, RestartTime: plugins.NeverRestart}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.worker.SanityCheck()
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var report *elog.ErrorData
			if !errors.As(err, &report) || report.Code != elog.InvalidParameterValue {
				t.Fatalf("got %v", err)
			}
			if want := `background worker "` + tt.worker.Name + `": ` + tt.want; report.Message != want {
				t.Errorf("got %q, want %q", report.Message, want)
			}
		})
	}
}

func TestAnEmptyTypeIsCopiedFromTheName(t *testing.T) {
	w := plugins.BackgroundWorker{Name: "n", Flags: plugins.ShmemAccess}
	if err := w.SanityCheck(); err != nil || w.Type != "n" {
		t.Errorf("got %q, %v", w.Type, err)
	}
}

func TestDescriptorsKeepEveryField(t *testing.T) {
	w := plugins.FromDescriptor(shmem.Descriptor{Request: 1 << 40})
	v := reflect.ValueOf(&w).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Int64:
			if v.Type().Field(i).Name == "request" {
				continue // not to be set by authors
			}
			f.SetInt(int64(i) + 1)
		case reflect.String:
			f.SetString(v.Type().Field(i).Name)
		case reflect.Int, reflect.Int32:
			f.SetInt(int64(i) + 1)
		case reflect.Uint32:
			f.SetUint(uint64(i) + 1)
		case reflect.Array:
			f.Index(5).SetUint(9)
		default:
			t.Fatalf("field %s has a new kind", v.Type().Field(i).Name)
		}
	}
	if got := plugins.FromDescriptor(w.Descriptor()); got != w || got.Request() != 1<<40 {
		t.Errorf("got %+v, want %+v", got, w)
	}
}

func TestPersonalities(t *testing.T) {
	for text, want := range map[string]plugins.Personality{"12": plugins.Postgres12, "13": plugins.Postgres13, "18": plugins.Postgres18} {
		if got := plugins.ParsePersonality(text); got != want || got.String() != text {
			t.Errorf("%s: %v", text, got)
		}
	}
	bare := plugins.BackgroundWorker{Name: "w", LibraryName: "l", FunctionName: "f"}
	connected := bare
	connected.Flags, connected.StartTime = plugins.BackendDatabaseConnection, plugins.StartAtConsistentState
	long := bare
	long.LibraryName = strings.Repeat("x", 96)
	for _, p := range []plugins.Personality{plugins.Postgres12, plugins.Postgres13} {
		if err := bare.SanityCheckAs(p); err != nil {
			t.Errorf("%v: %v", p, err)
		}
		if err := connected.SanityCheckAs(p); err == nil || !strings.Contains(err.Error(), "must attach to shared memory in order to request a database connection") {
			t.Errorf("%v: %v", p, err)
		}
		if err := long.SanityCheckAs(p); err == nil || !strings.Contains(err.Error(), "library name is too long") {
			t.Errorf("%v: %v", p, err)
		}
	}
	long.Flags = plugins.ShmemAccess
	if err := long.SanityCheck(); err != nil {
		t.Error(err)
	}
	if err := bare.SanityCheck(); err == nil {
		t.Error("18 allows a worker without shared memory")
	}
}
