package guc_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
)

const needsRestart = `LOG 55P02: parameter "max_worker_processes" cannot be changed without restarting the server`
const noChangesApplied = `LOG F0000: configuration file "h.conf" contains errors; no changes were applied`
const unaffectedApplied = `LOG F0000: configuration file "h.conf" contains errors; unaffected changes were applied`

// isPending reports whether a change of max_worker_processes waits for a
// restart.
func isPending(s *guc.Store) bool {
	set, _ := s.Lookup("max_worker_processes")
	return set.PendingRestart
}

func TestReloadTellsWhatChanged(t *testing.T) {
	s := started(t, "worker_stop_timeout = 60\ncrash_scope = auto\nx.y = 1")
	wantReports(t, s.ApplyReload(conf("worker_stop_timeout = '1min'\ncrash_scope = Worker\nx.y = 2\nx.z = 3\nRestart_after_crash = off")),
		`LOG 00000: parameter "crash_scope" changed to "Worker"`,
		`LOG 00000: parameter "x.y" changed to "2"`,
		`LOG 00000: parameter "x.z" changed to "3"`,
		`LOG 00000: parameter "Restart_after_crash" changed to "off"`)
	wantShow(t, s, "crash_scope", "worker")
	wantShow(t, s, "x.z", "3")
	if s.Bool("restart_after_crash") {
		t.Error("restart_after_crash is still on")
	}
}

func TestZeroChangesItsSign(t *testing.T) {
	s := guc.NewStore(guc.Definition{Name: "cost", Type: guc.TypeReal, Context: guc.Sighup, MaxReal: 1, Default: "0"})
	wantReports(t, s.ApplyReload(conf("cost = -0.0")), `LOG 00000: parameter "cost" changed to "-0.0"`)
	wantShow(t, s, "cost", "-0")
	wantReports(t, s.ApplyReload(conf("cost = -0e0")), `LOG 42601: syntax error in file "h.conf" line 1, near token "0"`, noChangesApplied)
	wantReports(t, s.ApplyReload(conf("cost = '-0e0'")))
}

func TestSecretsAreNotLogged(t *testing.T) {
	s := guc.NewStore(guc.Definition{Name: "conninfo", Type: guc.TypeString, Context: guc.Sighup, Flags: guc.FlagSecret})
	wantReports(t, s.ApplyReload(conf("conninfo = 'password=secret'")), `LOG 00000: parameter "conninfo" changed`)
	wantReports(t, s.ApplyReload(conf("conninfo = 'password=other'")), `LOG 00000: parameter "conninfo" changed`)
}

func TestValuesMustBeUTF8(t *testing.T) {
	s := started(t, "x.y = 1")
	wantReports(t, s.ApplyReload(conf("x.y = 'caf\xe9' # comments may be caf\xe9")),
		`LOG 22021: invalid byte sequence for encoding "UTF8" in value of parameter "x.y" | CONTEXT: line 1 of configuration file "h.conf"`,
		unaffectedApplied)
	wantShow(t, s, "x.y", "1")
}

func TestReloadRemembersWhereAValueIsNow(t *testing.T) {
	s := started(t, "worker_stop_timeout = 60\nmax_worker_processes = 4")
	wantReports(t, s.ApplyReload(conf("\n\nmax_worker_processes = 4\nworker_stop_timeout = 60")))
	for name, line := range map[string]int{"max_worker_processes": 3, "worker_stop_timeout": 4} {
		if set, _ := s.Lookup(name); set.Line != line {
			t.Errorf("%s: got line %d, want %d", name, set.Line, line)
		}
	}
}

func TestReloadResetsWhatHasGoneFromTheFile(t *testing.T) {
	s := started(t, "x.y = 1\nworker_stop_timeout = 60\npost_auth_delay = 1", "restart_after_crash=off")
	wantReports(t, s.ApplyReload(conf("")),
		`LOG 00000: parameter "post_auth_delay" removed from configuration file, reset to default`,
		`LOG 00000: parameter "worker_stop_timeout" removed from configuration file, reset to default`,
		`LOG 00000: parameter "x.y" removed from configuration file, reset to default`)
	wantShow(t, s, "worker_stop_timeout", "0")
	wantShow(t, s, "restart_after_crash", "off")
	if _, ok := s.Lookup("x.y"); ok {
		t.Error("the placeholder is still there")
	}
}

func TestAPostmasterVariableKeepsItsValueUntilARestart(t *testing.T) {
	s := started(t, "max_worker_processes = 4\nworker_stop_timeout = 0")
	wantReports(t, s.ApplyReload(conf("max_worker_processes = 5\nworker_stop_timeout = 1")),
		needsRestart+` | CONTEXT: line 1 of configuration file "h.conf"`,
		`LOG 00000: parameter "worker_stop_timeout" changed to "1"`,
		unaffectedApplied)
	wantShow(t, s, "max_worker_processes", "4")
	if !isPending(s) {
		t.Error("no restart is pending")
	}
	wantReports(t, s.ApplyReload(conf("max_worker_processes = 0x4\nworker_stop_timeout = 1")))
	if isPending(s) {
		t.Error("a restart is still pending")
	}
	wantReports(t, s.ApplyReload(conf("worker_stop_timeout = 1")), needsRestart, unaffectedApplied)
	if !isPending(s) {
		t.Error("no restart is pending after the removal")
	}
}

func TestTheCommandLineStillBeatsTheFileAtReload(t *testing.T) {
	s := started(t, "max_worker_processes = 4", "max_worker_processes=6", "worker_stop_timeout=5")
	wantReports(t, s.ApplyReload(conf("max_worker_processes = 5\nworker_stop_timeout = 7")))
	wantShow(t, s, "max_worker_processes", "6")
	wantShow(t, s, "worker_stop_timeout", "5s")
	if isPending(s) {
		t.Error("a restart is said to be pending, which would change nothing")
	}
}

func TestReloadAppliesNothingFromAFileWithSyntaxErrorsOrUnknownNames(t *testing.T) {
	for text, want := range map[string]string{
		"worker_stop_timeout = 1\n?\n":          `LOG 42601: syntax error in file "h.conf" line 2, near token "?"`,
		"worker_stop_timeout = 1\nstop_now = 1": `LOG 42704: unrecognized configuration parameter "stop_now" in file "h.conf" line 2`,
	} {
		s := started(t, "x.y = 1")
		wantReports(t, s.ApplyReload(conf(text)), want, `LOG F0000: configuration file "h.conf" contains errors; no changes were applied`)
		wantShow(t, s, "worker_stop_timeout", "0")
		wantShow(t, s, "x.y", "1")
	}
}

func TestReloadPassesOverWhatIsWrong(t *testing.T) {
	s := started(t, "worker_stop_timeout = 9")
	wantReports(t, s.ApplyReload(conf("worker_stop_timeout = no\nserver_version = 1\nrestart_after_crash = off")),
		`LOG 22023: invalid value for parameter "worker_stop_timeout": "no" | CONTEXT: line 1 of configuration file "h.conf"`,
		`LOG 55P02: parameter "server_version" cannot be changed | CONTEXT: line 2 of configuration file "h.conf"`,
		`LOG 00000: parameter "restart_after_crash" changed to "off"`,
		unaffectedApplied)
	wantShow(t, s, "worker_stop_timeout", "9s")
}

func TestReloadNamesTheFileThatIsWrong(t *testing.T) {
	s := started(t, "")
	c := conf("")
	c.Items = append(c.Items, guc.Item{Name: "crash_scope", Value: "x", File: "sub.conf", Line: 4, Source: guc.SourceFile})
	reports := s.ApplyReload(c)
	wantReports(t, reports[1:], `LOG F0000: configuration file "sub.conf" contains errors; unaffected changes were applied`)
}

func TestAChildReloadsQuietlyAndKeepsBackendVariables(t *testing.T) {
	postmaster := started(t, "post_auth_delay = 1\nworker_stop_timeout = 1\nx.y = 1")
	child, _ := guc.NewChildStore(postmaster.Items(), hostDefs()...)
	child.EndStartup()
	wantReports(t, child.ApplyReload(conf("post_auth_delay = 2\ncrash_scope = auto\nmax_worker_processes = 9")),
		`DEBUG2 55P02: parameter "max_worker_processes" cannot be changed without restarting the server | CONTEXT: line 3 of configuration file "h.conf"`,
		`DEBUG2 F0000: configuration file "h.conf" contains errors; unaffected changes were applied`)
	wantShow(t, child, "post_auth_delay", "1s")
	wantShow(t, child, "worker_stop_timeout", "0")
	wantReports(t, child.ApplyReload(conf("?")),
		`DEBUG2 42601: syntax error in file "h.conf" line 1, near token "?"`,
		`DEBUG2 F0000: configuration file "h.conf" contains errors; no changes were applied`)
	wantShow(t, child, "post_auth_delay", "1s")
}

func TestReadersNeverSeeAnythingButWholeValues(t *testing.T) {
	s := started(t, "worker_stop_timeout = 1")
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if n := s.Int("worker_stop_timeout"); n < 0 || n > 1000 {
					t.Errorf("got %d", n)
				}
				s.Settings()
				s.Items()
			}
		})
	}
	for i := range 1000 {
		s.ApplyReload(conf(fmt.Sprintf("worker_stop_timeout = %d\nx.y%d = 1", i, i%7)))
	}
	mustDefine(t, s, naptime())
	s.MarkPrefixReserved("x")
	close(done)
	readers.Wait()
}

func TestACheckHookMayReadOtherSettings(t *testing.T) {
	s := started(t, "")
	mustDefine(t, s, guc.Definition{Name: "a.b", Type: guc.TypeInt, Max: 100, Context: guc.Sighup, Default: "0", CheckHook: func(v guc.Value) error {
		if limit := s.Int("max_worker_processes"); v.Int() > limit {
			return fmt.Errorf("It must not be greater than \"max_worker_processes\", %d.", limit)
		}
		return nil
	}})
	wantReports(t, s.ApplyReload(conf("a.b = 9")),
		`LOG 22023: invalid value for parameter "a.b": 9 | DETAIL: It must not be greater than "max_worker_processes", 8. | CONTEXT: line 1 of configuration file "h.conf"`,
		unaffectedApplied)
}
