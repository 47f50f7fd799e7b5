package guc_test

import (
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
)

func TestStartupAppliesTheLastOfEachName(t *testing.T) {
	s := started(t, "max_worker_processes = bad\nMax_Worker_Processes = 4\ncrash_scope = WORKER\nworker_stop_timeout = '1.5min'")
	wantShow(t, s, "MAX_worker_processes", "4")
	if s.Int("max_worker_processes") != 4 || s.Enum("crash_scope") != "worker" || !s.Bool("restart_after_crash") || s.String("cluster_name") != "" {
		t.Errorf("got %+v", s.Settings())
	}
	wantShow(t, s, "worker_stop_timeout", "90s")
}

func TestTheCommandLineBeatsTheFileWhateverTheOrder(t *testing.T) {
	s := started(t, "max_worker_processes = 4", "max-worker-processes=5", "max_worker_processes=6")
	set, _ := s.Lookup("max_worker_processes")
	if set.Value.Int() != 6 || set.Source != guc.SourceCommandLine || set.File != "" {
		t.Errorf("got %+v", set)
	}
}

func TestStartupReportsEveryProblemAndThenIsFatal(t *testing.T) {
	c := conf(`max_worker_proceses = 4
crash_scope = node
restart_after_crash = maybe
server_version = '19'
worker_stop_timeout = -1
a = = b
x..y = 1
nothing_alike = 1
cluster_name = applied`)
	for _, o := range []string{"max_worker_processes=many", "crash_scop=auto", "a..b=1"} {
		it, _ := guc.ParseOption(o)
		c.Items = append(c.Items, it)
	}
	s := guc.NewStore(hostDefs()...)
	wantReports(t, s.ApplyStartup(c),
		`LOG 42601: syntax error in file "h.conf" line 6, near token "="`,
		`LOG 42601: syntax error in file "h.conf" line 7, near token "x..y"`,
		`FATAL 22023: invalid value for parameter "max_worker_processes": "many"`,
		`FATAL 42704: unrecognized configuration parameter "crash_scop" | HINT: Perhaps you meant "crash_scope".`,
		`FATAL 42602: invalid configuration parameter name "a..b" | DETAIL: Custom parameter names must be two or more simple identifiers separated by dots.`,
		`LOG 42704: unrecognized configuration parameter "max_worker_proceses" in file "h.conf" line 1 | HINT: Perhaps you meant "max_worker_processes".`,
		`LOG 22023: invalid value for parameter "crash_scope": "node" | HINT: Available values: cluster, auto, worker. | CONTEXT: line 2 of configuration file "h.conf"`,
		`LOG 22023: parameter "restart_after_crash" requires a Boolean value | CONTEXT: line 3 of configuration file "h.conf"`,
		`LOG 55P02: parameter "server_version" cannot be changed | CONTEXT: line 4 of configuration file "h.conf"`,
		`LOG 22023: -1 s is outside the valid range for parameter "worker_stop_timeout" (0 s .. 3600 s) | CONTEXT: line 5 of configuration file "h.conf"`,
		`LOG 42704: unrecognized configuration parameter "nothing_alike" in file "h.conf" line 8`,
		`FATAL F0000: configuration file "h.conf" contains errors`,
	)
	wantShow(t, s, "cluster_name", "applied")
	wantShow(t, s, "crash_scope", "auto")
}

func TestAnOverriddenFileValueIsCheckedAllTheSame(t *testing.T) {
	c := conf("max_worker_processes = bad")
	it, _ := guc.ParseOption("max_worker_processes=3")
	c.Items = append(c.Items, it)
	wantReports(t, guc.NewStore(hostDefs()...).ApplyStartup(c),
		`LOG 22023: invalid value for parameter "max_worker_processes": "bad" | CONTEXT: line 1 of configuration file "h.conf"`,
		`FATAL F0000: configuration file "h.conf" contains errors`)
}

func TestNewStorePanicsOnItsOwnMistakes(t *testing.T) {
	for name, defs := range map[string][]guc.Definition{
		"nonsense": {{Name: "x", Type: guc.TypeBool}},
		"twice":    {{Name: "x", Type: guc.TypeString}, {Name: "X", Type: guc.TypeString}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			guc.NewStore(defs...)
		}()
	}
}

func TestGettersPanicOnNamesThatDoNotExist(t *testing.T) {
	s := started(t, "")
	for _, get := range []func(){
		func() { s.Int("max_workers") }, func() { s.Bool("cluster_name") }, func() { s.String("crash_scope") }, func() { s.Enum("cluster_name") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			get()
		}()
	}
}

func TestShowOfAnUnknownNameIsAnError(t *testing.T) {
	_, err := started(t, "").Show("cluster_nam")
	wantError(t, err, `ERROR 42704: unrecognized configuration parameter "cluster_nam" | HINT: Perhaps you meant "cluster_name".`)
}

func TestOverrideSetsEvenInternalVariables(t *testing.T) {
	s := started(t, "", "cluster_name=c")
	for _, name := range []string{"server_version", "cluster_name"} {
		if err := s.Override(name, "o"); err != nil {
			t.Fatal(err)
		}
		wantShow(t, s, name, "o")
	}
	wantError(t, s.Override("max_worker_processes", "-1"), `ERROR 22023: -1 is outside the valid range for parameter "max_worker_processes" (0 .. 262143)`)
	wantError(t, s.Override("none", "1"), `ERROR 42704: unrecognized configuration parameter "none"`)
}

func TestAChildRunsWithWhatThePostmasterRunsWith(t *testing.T) {
	s := started(t, "max_worker_processes = 4\nx.y = 'a b'\nworker_spi.naptime = 3\nworker_stop_timeout = 1min", "crash_scope=worker")
	wantReports(t, mustDefine(t, s, naptime()))
	_ = s.Override("server_version", "18.3")
	s.EndStartup()
	s.ApplyReload(conf("max_worker_processes = 5\nx.y = 'a b'\nworker_spi.naptime = 3"))
	child, reports := guc.NewChildStore(s.Items(), hostDefs()...)
	wantReports(t, reports)
	wantReports(t, mustDefine(t, child, naptime()))
	for name, want := range map[string]string{
		"max_worker_processes": "4", "x.y": "a b", "worker_spi.naptime": "3", "worker_stop_timeout": "0", "crash_scope": "worker", "server_version": "18.3",
	} {
		wantShow(t, s, name, want)
		wantShow(t, child, name, want)
	}
	if set, _ := child.Lookup("worker_spi.naptime"); set.File != "h.conf" || set.Line != 3 || set.Source != guc.SourceFile {
		t.Errorf("got %+v", set)
	}
}

func TestAChildReportsWhatItCannotInherit(t *testing.T) {
	child, reports := guc.NewChildStore([]guc.Item{{Name: "max_worker_processes", Value: "x", File: "f", Line: 7, Source: guc.SourceFile}}, hostDefs()...)
	wantReports(t, reports, `WARNING 22023: invalid value for parameter "max_worker_processes": "x" | CONTEXT: line 7 of configuration file "f"`)
	wantShow(t, child, "max_worker_processes", "8")
}
