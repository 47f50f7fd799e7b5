package guc_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
)

// twoFiles writes a main file and one for ALTER SYSTEM, and reads both.
func twoFiles(t *testing.T, dir, main, auto string) guc.Config {
	t.Helper()
	return guc.ParseFile(writeFile(t, dir, "h.conf", main), writeFile(t, dir, "h.auto.conf", auto))
}

func TestTheLaterFileWins(t *testing.T) {
	dir := t.TempDir()
	s := guc.NewStore(hostDefs()...)
	wantReports(t, s.ApplyStartup(twoFiles(t, dir, "worker_stop_timeout = 1\ncrash_scope = worker\nmax_worker_processes = 3", "\nWorker_stop_timeout = 2")))
	wantShow(t, s, "worker_stop_timeout", "2s")
	wantShow(t, s, "crash_scope", "worker")
	if set, _ := s.Lookup("worker_stop_timeout"); set.File != filepath.Join(dir, "h.auto.conf") || set.Line != 2 {
		t.Errorf("got %s:%d", set.File, set.Line)
	}
	wantReports(t, s.ApplyReload(twoFiles(t, dir, "worker_stop_timeout = 1\ncrash_scope = worker\nmax_worker_processes = 3", "")),
		`LOG 00000: parameter "worker_stop_timeout" changed to "1"`)
}

func TestWhatTheLaterFileReplacesIsNotLookedAt(t *testing.T) {
	s := started(t, "")
	wantReports(t, s.ApplyReload(twoFiles(t, t.TempDir(), "worker_stop_timeout = soon", "worker_stop_timeout = 2")),
		`LOG 00000: parameter "worker_stop_timeout" changed to "2"`)
}

func TestReportsNameTheFileOfTheMistake(t *testing.T) {
	dir := t.TempDir()
	auto := filepath.Join(dir, "h.auto.conf")
	s := started(t, "")
	wantReports(t, s.ApplyReload(twoFiles(t, dir, "crash_scope = worker\n", "\n\nworker_stop_timeout = soon")),
		`LOG 00000: parameter "crash_scope" changed to "worker"`,
		`LOG 22023: invalid value for parameter "worker_stop_timeout": "soon" | CONTEXT: line 3 of configuration file "`+auto+`"`,
		`LOG F0000: configuration file "`+auto+`" contains errors; unaffected changes were applied`)
	wantReports(t, s.ApplyReload(twoFiles(t, dir, "crash_scope = auto\n", "\nworker_stop_tmeout = 1")),
		`LOG 42704: unrecognized configuration parameter "worker_stop_tmeout" in file "`+auto+`" line 2 | HINT: Perhaps you meant "worker_stop_timeout".`,
		`LOG F0000: configuration file "`+auto+`" contains errors; no changes were applied`)
	wantShow(t, s, "crash_scope", "worker")
}

func TestTheSummaryOfAStartNamesTheFileThatPostgresWouldNotGetPast(t *testing.T) {
	dir := t.TempDir()
	main, auto := filepath.Join(dir, "h.conf"), filepath.Join(dir, "h.auto.conf")
	for _, tt := range []struct{ main, auto, want string }{
		{"worker_stop_timeout = soon", "", main},
		{"worker_stop_timeout = soon", "crash_scope = x", auto},
		{"stop_now = 1", "crash_scope = x", main},
		{"?", "stop_now = 1", main},
		{"stop_now = 1", "?", auto},
	} {
		reports := guc.NewStore(hostDefs()...).ApplyStartup(twoFiles(t, dir, tt.main, tt.auto))
		wantReports(t, reports[len(reports)-1:], `FATAL F0000: configuration file "`+tt.want+`" contains errors`)
	}
}

func TestASyntaxErrorInTheLaterFileKeepsAReloadFromApplyingAnything(t *testing.T) {
	dir := t.TempDir()
	auto := filepath.Join(dir, "h.auto.conf")
	s := started(t, "x.y = 1")
	wantReports(t, s.ApplyReload(twoFiles(t, dir, "crash_scope = worker", "worker_stop_timeout = 2\n?")),
		`LOG 42601: syntax error in file "`+auto+`" line 2, near token "?"`,
		`LOG F0000: configuration file "`+auto+`" contains errors; no changes were applied`)
	for name, want := range map[string]string{"crash_scope": "auto", "worker_stop_timeout": "0", "x.y": "1"} {
		wantShow(t, s, name, want)
	}
}

func TestALaterFileThatCannotBeReadIsAnError(t *testing.T) {
	dir := t.TempDir()
	c := guc.ParseFile(writeFile(t, dir, "h.conf", "a = 1"), dir)
	wantReports(t, c.Reports, `LOG 42809: could not open configuration file "`+dir+`": Is a directory`)
	if c.BadFile != dir {
		t.Errorf("the bad file is %q", c.BadFile)
	}
}

func TestUnreadableFilesAreReportedWithTheCodeOfTheirError(t *testing.T) {
	for err, want := range map[error]string{
		syscall.EACCES: `LOG 42501: could not open configuration file "/h.conf": Permission denied`,
		syscall.EPERM:  `LOG 42501: could not open configuration file "/h.conf": Operation not permitted`,
		syscall.ENOENT: `LOG 58P01: could not open configuration file "/h.conf": No such file or directory`,
		syscall.EIO:    `LOG 58030: could not open configuration file "/h.conf": Input/output error`,
	} {
		c := guc.ParseUnreadable("/h.conf", err)
		wantReports(t, c.Reports, want)
		if c.BadFile != "/h.conf" {
			t.Errorf("%v: the bad file is %q", err, c.BadFile)
		}
	}
}

func TestAnEndlessFileIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.conf")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 64<<20+1); err != nil { // a hole, which takes no space
		t.Fatal(err)
	}
	wantReports(t, guc.ParseFile(path).Reports, `LOG XX000: could not open configuration file "`+path+`": File too large`)
}

// include_if_exists passes over what isn't there, and nothing else.
func TestIncludeIfExistsPassesOverWhatCannotExist(t *testing.T) {
	c := guc.ParseFile(writeFile(t, t.TempDir(), "h.conf", "include_if_exists '/dev/null/x'\na = 1"))
	wantReports(t, c.Reports, `LOG 00000: skipping missing configuration file "/dev/null/x"`)
	if c.BadFile != "" || len(c.Items) != 1 {
		t.Errorf("got %+v", c)
	}
}

func TestTokensWithNULBytesDoNotReachTheLog(t *testing.T) {
	for _, e := range conf("\x00\na = \x00\nb = 'c\x00' 'd\x00e'").Reports {
		if strings.Contains(e.Message, "\x00") {
			t.Errorf("got %q", e.Message)
		}
	}
}
