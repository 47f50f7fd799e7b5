package guc_test

import (
	"bytes"
	"math"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// oracleDefs are settings of PostgreSQL 15 that no check hook guards.
func oracleDefs() []guc.Definition {
	return []guc.Definition{
		{Name: "work_mem", Type: guc.TypeInt, Context: guc.User, Unit: guc.UnitKB, Min: 64, Max: math.MaxInt32, Default: "4096"},
		{Name: "checkpoint_timeout", Type: guc.TypeInt, Context: guc.Sighup, Unit: guc.UnitS, Min: 30, Max: 86400, Default: "5min"},
		{Name: "vacuum_cost_delay", Type: guc.TypeReal, Context: guc.User, Unit: guc.UnitMS, MaxReal: 100, Default: "0"},
		{Name: "vacuum_cost_page_hit", Type: guc.TypeInt, Context: guc.User, Max: 10000, Default: "1"},
		{Name: "enable_sort", Type: guc.TypeBool, Context: guc.User, Default: "on"},
		{
			Name: "log_min_messages", Type: guc.TypeEnum, Context: guc.Suset, Default: "warning",
			EnumOptions: elog.LevelNames(), EnumAliases: map[string]string{"debug": "debug2"},
		},
		{Name: "restore_command", Type: guc.TypeString, Context: guc.Sighup},
	}
}

// oracleFiles are files with the setting whose value is to be compared.
var oracleFiles = []struct{ ask, text string }{
	{"work_mem", "work_mem = 30.1GB\n"},
	{"work_mem", "work_mem = '30.1GB'\n"},
	{"work_mem", "WORK_MEM '0x40 kB '\n"},
	{"work_mem", "work_mem = 1e5\n"},
	{"work_mem", "work_mem = 1\nwork_mem = 100\n"},
	{"work_mem", "work_mem = 1KB\n"},
	{"work_mem", "work_mem = 99999999999999999999\n"},
	{"checkpoint_timeout", "checkpoint_timeout = '1.5min'\n"},
	{"checkpoint_timeout", "checkpoint_timeout = 1\nfoo = 1\n"},
	{"vacuum_cost_delay", "vacuum_cost_delay = 1500us\n"},
	{"vacuum_cost_delay", "vacuum_cost_delay = '-inf'\nvacuum_cost_page_hit = 2.5\n"},
	{"vacuum_cost_page_hit", "vacuum_cost_page_hit 2.5 # half to even\r\n"},
	{"vacuum_cost_page_hit", "vacuum_cost_page_hit ' .5'\n"},
	{"enable_sort", "enable_sort = of\n"},
	{"enable_sort", "enable_sort = o\nlog_min_messages = loud\n"},
	{"log_min_messages", "log_min_messages = DEBUG\n"},
	{"restore_command", `restore_command = 'it''s \101\t\x'` + "\n"},
	{"restore_command", "restore_command = 'a''\n"},
	{"restore_command", "restore_command = a.b\n"},
	{"restore_command", "restore_command = a.b.c:/d-\n"},
	{"restore_command", "\nx.y.z = 1\nx.y = '\n= 2\n"},
}

// This test needs a PostgreSQL 15 and the right to run it, and is skipped
// otherwise.
func TestPostgresAgrees(t *testing.T) {
	const binary = "/usr/lib/postgresql/15/bin/postgres"
	if _, err := os.Stat(binary); err != nil {
		t.Skip(err)
	}
	// Not below TempDir, whose parents another user can't enter.
	dir, err := os.MkdirTemp("/tmp", "guc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := writeFile(t, dir, "postgresql.conf", "")
	auto := writeFile(t, dir, "postgresql.auto.conf", "")
	owner := asPostgres(t, dir, path, auto, writeFile(t, dir, "PG_VERSION", "15\n"))
	for _, tt := range oracleFiles {
		writeFile(t, dir, filepath.Base(path), tt.text)
		cmd := exec.Command(binary, "-C", tt.ask, "-D", dir)
		cmd.SysProcAttr = owner
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		_ = cmd.Run() // a refused file is an exit code
		value, log := applyLikePostgres(tt.ask, path, auto)
		if want := withoutPrefix(stderr.String()); log != want || value != stdout.String() {
			t.Errorf("%q: got\n%s%s\nwant\n%s%s", tt.text, value, log, stdout.String(), want)
		}
	}
}

// asPostgres gives the files to a user that PostgreSQL runs as.
func asPostgres(t *testing.T, paths ...string) *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	owner, err := user.Lookup("postgres")
	if err != nil {
		t.Skip(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	for _, path := range paths {
		if err := os.Chown(path, uid, gid); err != nil {
			t.Skip(err)
		}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// applyLikePostgres starts a store and shows it as PostgreSQL 15 shows itself:
// without units in the bounds, and without what this package adds.
func applyLikePostgres(ask, path, auto string) (value, log string) {
	s := guc.NewStore(oracleDefs()...)
	failed := false
	for _, e := range s.ApplyStartup(guc.ParseFile(path, auto)) {
		log += e.Level.String() + ":  " + e.Message + "\n"
		if e.Hint != "" && e.Code == elog.InvalidParameterValue {
			log += "HINT:  " + e.Hint + "\n"
		}
		failed = failed || e.Level == elog.Fatal
	}
	log = regexp.MustCompile(`\((\S+)( \w+)? \.\. (\S+?)( \w+)?\)`).ReplaceAllString(log, "($1 .. $3)")
	if at := strings.Index(log, "LOG:  unrecognized"); at >= 0 {
		log = log[at:] // PostgreSQL doesn't look at values then
	}
	if !failed {
		set, _ := s.Lookup(ask)
		value = set.Value.String() + "\n"
	}
	return value, log
}

func withoutPrefix(log string) string {
	return regexp.MustCompile(`(?m)^\S+ \S+ \S+ \[\d+\] `).ReplaceAllString(log, "")
}
