package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// configured makes a data directory with these lines at the end of its
// configuration file.
func configured(t *testing.T, conninfo string, lines ...string) string {
	t.Helper()
	dir := filepath.Join(shortTempDir(t), "host")
	if err := host.Init(dir, conninfo); err != nil {
		t.Fatal(err)
	}
	appendConfig(t, dir, lines...)
	return dir
}

func appendConfig(t *testing.T, dir string, lines ...string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, host.ConfigFileName), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, line := range lines {
		if _, err := f.WriteString(line + "\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// waitHost waits until the host of a directory is ready.
func waitHost(t *testing.T, dir string, pid int) {
	t.Helper()
	eventually(t, "the host to be ready", func() bool {
		c, err := lockfile.Read(dir)
		return err == nil && c.Pid == pid && c.Status.Up()
	})
}

func TestConfigCheckOfWhatIsRight(t *testing.T) {
	dir := configured(t, "", "shared_preload_libraries = 'worker_spi'", "worker_spi.naptime = 5")
	pgexthost(t, "config", "check", "-D", dir).want(t, 0, "The configuration of "+dir+" is valid.\n", "")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
}

func TestConfigCheckTellsAllThatIsWrongAndWhere(t *testing.T) {
	for name, tt := range map[string]struct{ lines, says []string }{
		"syntax, and values all the same": {
			[]string{"= 5", "max_parallel_workers = x"},
			[]string{`pgexthost: error: syntax error in file "DIR/pgexthost.conf" line FIRST, near token "="`, `pgexthost: error: invalid value for parameter "max_parallel_workers": "x"`, "pgexthost: context: line SECOND of configuration file"},
		},
		"unknown name": {
			[]string{"", "max_worker_proceses = 5"},
			[]string{`unrecognized configuration parameter "max_worker_proceses" in file "DIR/pgexthost.conf" line SECOND`, `pgexthost: hint: Perhaps you meant "max_worker_processes".`},
		},
		"of a library": {
			[]string{"shared_preload_libraries = worker_spi", "worker_spi.naptime = 0"},
			[]string{`pgexthost: warning: 0 is outside the valid range for parameter "worker_spi.naptime" (1 .. 2147483647)`, "pgexthost: context: line SECOND of configuration file"},
		},
		"reserved prefix": {
			[]string{"shared_preload_libraries = worker_spi", "worker_spi.naptme = 5"},
			[]string{`pgexthost: warning: invalid configuration parameter name "worker_spi.naptme", removing it`, `pgexthost: detail: "worker_spi" is now a reserved prefix.`},
		},
		"too many workers": {
			[]string{"shared_preload_libraries = worker_spi", "max_worker_processes = 1"},
			[]string{"pgexthost: log: too many background workers", "pgexthost: detail: Up to 1 background worker can be registered with the current settings."},
		},
		"no such library": {
			[]string{"shared_preload_libraries = nobody"},
			[]string{`pgexthost: error: could not access file "nobody": No such file or directory`},
		},
		"list syntax": {
			[]string{"shared_preload_libraries = 'a,,b'"},
			[]string{`pgexthost: warning: invalid list syntax in parameter "shared_preload_libraries"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := configured(t, "")
			text, err := os.ReadFile(filepath.Join(dir, host.ConfigFileName))
			if err != nil {
				t.Fatal(err)
			}
			first := strings.Count(string(text), "\n") + 1
			appendConfig(t, dir, tt.lines...)
			r := pgexthost(t, "config", "check", "-D", dir)
			for _, line := range tt.says {
				line = strings.NewReplacer("DIR", dir, "FIRST", strconv.Itoa(first), "SECOND", strconv.Itoa(first+1)).Replace(line)
				r.want(t, 1, "", line)
			}
		})
	}
}

func TestConfigCheckKnowsTheCommandLine(t *testing.T) {
	dir := configured(t, "")
	pgexthost(t, "config", "check", "-D", dir, "-c", "max_worker_processes=many").want(t, 1, "", `invalid value for parameter "max_worker_processes": "many"`)
	pgexthost(t, "config", "check", "-D", dir, "-c", "nonsense").want(t, 1, "", "-c nonsense requires a value")
}

func TestConfigOfWhatIsNoDataDirectory(t *testing.T) {
	dir := shortTempDir(t)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, subcommand := range []string{"check", "show"} {
		pgexthost(t, "config", subcommand, "-D", dir).want(t, 1, "", "could not access ")
		pgexthost(t, "config", subcommand).want(t, 1, "", "no data directory specified")
	}
	expectEmpty(t, dir)
	pgexthost(t, "config").want(t, 1, "", "no subcommand: check or show?")
	pgexthost(t, "config", "chek").want(t, 1, "", `unrecognized subcommand "chek"`)
	pgexthost(t, "config", "check", "-D", dir, "x").want(t, 1, "", "too many command-line arguments")
}

func TestConfigShowWithoutAHostShowsWhatItWouldStartWith(t *testing.T) {
	dir := configured(t, "password=secret", "shared_preload_libraries = worker_spi", "worker_spi.naptime = 5", "foo.bar = 1", "max_worker_processes = 9")
	note := "pgexthost: no server running, showing what it would start with\n"
	all := pgexthost(t, "config", "show", "-D", dir)
	for _, row := range [][]string{
		{"NAME", "VALUE", "CONTEXT", "SOURCE"},
		{"max_parallel_workers", "8", "sighup", "default"},
		{"worker_spi.naptime", "5", "sighup", dir + "/pgexthost.conf:"},
		{"max_worker_processes", "9", "postmaster", dir + "/pgexthost.conf:"},
		{"server_conninfo", "(hidden:"},
		{"foo.bar", "(not defined by any library)"},
	} {
		all.wantRow(t, row...)
	}
	all.want(t, 0, "NAME", note)
	if strings.Contains(all.stdout, "secret") {
		t.Error("the password is shown")
	}
	pgexthost(t, "config", "show", "-D", dir, "-c", "max_worker_processes=3", "MAX_worker_processes").
		want(t, 0, "max_worker_processes = 3\n  How many background workers may be registered at a time.\n  source:   command line\n"+
			"  context:  postmaster (a change requires a restart)\n  default:  8\n", note)
	pgexthost(t, "config", "show", "-D", dir, "no.such").want(t, 1, "", `pgexthost: error: unrecognized configuration parameter "no.such"`)
}

// What a restart would bring is what only a restart can, and no option of the
// command line keeps from happening.
func TestConfigCheckKnowsWhatWaitsForARestart(t *testing.T) {
	d := newHostDir(t)
	d.start(t, "-o", "-c max_worker_processes=3")
	valid := "The configuration of " + d.path + " is valid.\n"
	d.config(t, "check").exactly(t, 0, valid, "")
	appendConfig(t, d.path, "max_worker_processes = 9", "max_parallel_workers = 4", "cluster_name = new")
	d.config(t, "check").exactly(t, 0, valid+"A change of \"cluster_name\" takes effect when the host is restarted.\n", "")
}

func (d hostDir) config(t *testing.T, command string, args ...string) result {
	t.Helper()
	return pgexthost(t, append([]string{"config", command, "-D", d.path}, args...)...)
}

func TestAHostThatStartsHasNoSettingsYet(t *testing.T) {
	d := newHostDir(t)
	d.control(t, "start", "-W", "-s", "-l", d.log, "-o", "-c max_worker_processes=3 -c shared_preload_libraries="+stuckLibrary).exactly(t, 0, "", "")
	eventually(t, "a lock file", func() bool {
		_, err := lockfile.Read(d.path)
		return err == nil
	})
	d.config(t, "show", "max_worker_processes").want(t, 0, "max_worker_processes = 8\n", "no server running")
	d.config(t, "check").want(t, 0, "is valid", "")
}

// A file that was skipped is no mistake, but does not make up for one either.
func TestConfigCheckForgetsNoMistake(t *testing.T) {
	dir := configured(t, "", "include_if_exists 'none.conf'")
	skipped := "pgexthost: log: skipping missing configuration file \"" + dir + "/none.conf\"\n"
	pgexthost(t, "config", "check", "-D", dir).exactly(t, 0, "The configuration of "+dir+" is valid.\n", skipped)
	dir = configured(t, "", "?", "include_if_exists 'none.conf'")
	pgexthost(t, "config", "check", "-D", dir).want(t, 1, "", "syntax error in file")
}

// The names of both files are part of the contract.
func TestTheFileOfAlterSystemOverridesTheOther(t *testing.T) {
	dir := configured(t, "", "max_worker_processes = 9", "max_parallel_workers = 7")
	auto := filepath.Join(dir, "pgexthost.auto.conf")
	if err := os.WriteFile(auto, []byte("max_worker_processes = '5'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := pgexthost(t, "config", "show", "-D", dir)
	r.wantRow(t, "max_worker_processes", "5", auto+":1")
	r.wantRow(t, "max_parallel_workers", "7", dir+"/pgexthost.conf:")
	pgexthost(t, "config", "show", "-D", dir, "-c", "max_worker_processes=3").wantRow(t, "max_worker_processes", "3", "command line")
}

func (r result) wantRow(t *testing.T, cells ...string) {
	t.Helper()
	for line := range strings.Lines(r.stdout) {
		found := true
		for _, cell := range cells {
			found = found && strings.Contains(line, cell)
		}
		if found {
			return
		}
	}
	t.Errorf("no row has %q:\n%s", cells, r.stdout)
}

func TestConfigShowOfARunningHost(t *testing.T) {
	dir := configured(t, "", "shared_preload_libraries = worker_spi", "worker_spi.total_workers = 1")
	cmd := program("run", "-D", dir, "-c", "max_parallel_workers=3")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Signal(unix.SIGINT); _ = cmd.Wait() }()
	waitHost(t, dir, cmd.Process.Pid)

	show := func() map[string]host.Setting {
		r := pgexthost(t, "config", "show", "-D", dir, "--json")
		var all []host.Setting
		if err := json.Unmarshal([]byte(r.stdout), &all); err != nil || r.stderr != "" {
			t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
		}
		byName := make(map[string]host.Setting)
		for _, s := range all {
			byName[s.Name] = s
		}
		return byName
	}
	if s := show()["max_parallel_workers"]; s.Value != "3" || s.Source != "command line" {
		t.Errorf("got %+v", s)
	}
	if s := show()["worker_spi.total_workers"]; s.Value != "1" || s.PendingRestart {
		t.Errorf("got %+v", s)
	}
	// Values in force change by a reload only, and not all of them.
	appendConfig(t, dir, "worker_spi.total_workers = 5", "worker_spi.naptime = 77", "max_parallel_workers = 4")
	if s := show()["worker_spi.naptime"]; s.Value != "10" {
		t.Errorf("before the reload: %+v", s)
	}
	pgexthost(t, "config", "check", "-D", dir).want(t, 0, "A change of \"worker_spi.total_workers\" takes effect when the host is restarted.\n", "")
	if err := cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reload", func() bool { return show()["worker_spi.naptime"].Value == "77" })
	if s := show()["worker_spi.total_workers"]; s.Value != "1" || !s.PendingRestart {
		t.Errorf("after the reload: %+v", s)
	}
	pgexthost(t, "config", "show", "-D", dir).wantRow(t, "worker_spi.total_workers", "1", "(pending restart)")
	pgexthost(t, "config", "show", "-D", dir, "-c", "a.b=c").want(t, 1, "", "-c has no effect on it")

	// A killed host is none.
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	pgexthost(t, "config", "show", "-D", dir, "worker_spi.total_workers").want(t, 0, "worker_spi.total_workers = 5", "no server running")
}

// The settings in force go first when a host ends, its lock file last.
func TestConfigShowOfAHostThatIsNearlyGone(t *testing.T) {
	d := newHostDir(t)
	c := lockfile.Contents{Pid: sleeper(t).Process.Pid, DataDir: d.path, Started: time.Now(), Status: lockfile.Stopping}
	write := func() {
		if err := os.WriteFile(filepath.Join(d.path, lockfile.Name), []byte(c.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	pgexthost(t, "config", "show", "-D", d.path, "max_worker_processes").want(t, 0, "max_worker_processes = 8\n", "no server running, showing what it would start with\n")
	c.Status = lockfile.Ready
	write()
	pgexthost(t, "config", "show", "-D", d.path).want(t, 1, "", "could not read file")
}
