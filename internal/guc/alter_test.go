package guc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func alteration(name, value string) guc.Alteration { return guc.Alteration{Name: name, Value: &value} }

func alter(t *testing.T, file string, a guc.Alteration) {
	t.Helper()
	if err := guc.Alter(file, a); err != nil {
		t.Fatal(err)
	}
}

func TestAnAlterationIsWhatTheFileSays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "h.auto.conf")
	odd := `it's a "\ # thing`
	alter(t, file, alteration("crash_scope", "worker"))
	alter(t, file, alteration("cluster_name", odd))
	alter(t, file, alteration("a.b", ""))
	alter(t, file, alteration("Crash_Scope", "auto"))
	conf := guc.ParseFile(file)
	want := []guc.Item{{Name: "cluster_name", Value: odd}, {Name: "a.b"}, {Name: "Crash_Scope", Value: "auto"}}
	if len(conf.Reports) > 0 || len(conf.Items) != len(want) {
		t.Fatalf("got %+v", conf)
	}
	for i, it := range conf.Items {
		if it.Name != want[i].Name || it.Value != want[i].Value {
			t.Errorf("got %+v, want %+v", it, want[i])
		}
	}
	alter(t, file, guc.Alteration{Name: "CLUSTER_NAME"})
	if items := guc.ParseFile(file).Items; len(items) != 2 {
		t.Errorf("got %+v", items)
	}
	alter(t, file, guc.Alteration{})
	if items := guc.ParseFile(file).Items; len(items) != 0 {
		t.Errorf("got %+v", items)
	}
	if names, _ := filepath.Glob(file + "*"); len(names) != 1 {
		t.Errorf("there are %v", names)
	}
}

func TestNoAlterationIsLostToAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "h.auto.conf")
	var all sync.WaitGroup
	const many = 20
	for i := range many {
		all.Go(func() {
			if err := guc.Alter(file, alteration(fmt.Sprintf("a.b%d", i), "x")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if items := guc.ParseFile(file).Items; len(items) != many {
		t.Errorf("%d of %d", len(items), many)
	}
}

func TestAFileThatIsWrongIsNotAltered(t *testing.T) {
	file := filepath.Join(t.TempDir(), "h.auto.conf")
	if err := os.WriteFile(file, []byte("crash_scope = = x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := guc.Alter(file, alteration("a.b", "x"))
	if elog.CodeOf(err) != elog.ConfigFileError {
		t.Errorf("got %v", err)
	}
	if names, _ := filepath.Glob(file + "*"); len(names) != 1 {
		t.Errorf("there are %v", names)
	}
	if text, _ := os.ReadFile(file); string(text) != "crash_scope = = x\n" {
		t.Errorf("got %s", text)
	}
}

func TestAnAlterationHasToBeOneThatTheSettingTakes(t *testing.T) {
	s := started(t, "")
	reset := func(name string) guc.Alteration { return guc.Alteration{Name: name} }
	for _, tt := range []struct {
		a    guc.Alteration
		want string
	}{
		{alteration("crash_scope", "worker"), ""},
		{alteration("max_worker_processes", "9"), ""},
		{alteration("other.thing", "9"), ""},
		{reset("crash_scope"), ""},
		{guc.Alteration{}, ""},
		{alteration("crash_scope", "x"), `ERROR 22023: invalid value for parameter "crash_scope": "x" | HINT: Available values: cluster, auto, worker.`},
		{alteration("worker_stop_timeout", "9999"), `ERROR 22023: 9999 s is outside the valid range for parameter "worker_stop_timeout" (0 s .. 3600 s)`},
		{alteration("crash_scop", "x"), `ERROR 42704: unrecognized configuration parameter "crash_scop" | HINT: Perhaps you meant "crash_scope".`},
		{reset("nothing"), `ERROR 42704: unrecognized configuration parameter "nothing"`},
		{alteration("a b.c", "x"), `ERROR 42704: unrecognized configuration parameter "a b.c"`},
		{alteration("server_version", "1"), `ERROR 55P02: parameter "server_version" cannot be changed`},
		{alteration("cluster_name", "a\nb"), `ERROR 22023: parameter value for ALTER SYSTEM must not contain a newline`},
	} {
		got := ""
		if err := s.CheckAlteration(tt.a); err != nil {
			got = render(elog.AsErrorData(err, elog.Error))
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.a.Name, got, tt.want)
		}
	}
}
