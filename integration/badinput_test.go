//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins"
)

// What stops a host from starting: PostgreSQL's message, exit code 1, and
// nothing left behind.
func TestAHostThatCannotStartSaysWhy(t *testing.T) {
	for name, tt := range map[string]struct {
		conf     string
		settings []string
		says     []string
	}{
		"unknown setting": {
			conf: "max_worker_proceses = 4\n",
			says: []string{
				`LOG:  unrecognized configuration parameter "max_worker_proceses" in file ".*/pgexthost.conf" line \d+$`,
				`HINT:  .*"max_worker_processes"`,
				`FATAL:  configuration file ".*/pgexthost.conf" contains errors$`,
			},
		},
		"value out of range": {
			conf: "max_worker_processes = 262144\n",
			says: []string{
				`LOG:  262144 is outside the valid range for parameter "max_worker_processes" \(0 \.\. 262143\)$`,
				`line \d+ of configuration file ".*/pgexthost.conf"`,
				`FATAL:  configuration file ".*" contains errors$`,
			},
		},
		"value of another type": {
			conf: "max_worker_processes = many\n",
			says: []string{`LOG:  invalid value for parameter "max_worker_processes": "many"$`, `FATAL:  configuration file ".*" contains errors$`},
		},
		"unit where none belongs": {
			conf: "max_worker_processes = '4 kB'\n",
			says: []string{`LOG:  invalid value for parameter "max_worker_processes": "4 kB"$`},
		},
		"unknown word": {
			conf: "log_min_messages = loud\n",
			says: []string{`LOG:  invalid value for parameter "log_min_messages": "loud"$`, `HINT:  Available values: debug5, debug4`},
		},
		"syntax": {
			conf: "this is not = a setting\n",
			says: []string{`LOG:  syntax error in file ".*/pgexthost.conf" line \d+, near token "not"$`, `FATAL:  configuration file ".*" contains errors$`},
		},
		"command line": {
			settings: []string{"max_worker_processes=-1"},
			says:     []string{`FATAL:  -1 is outside the valid range for parameter "max_worker_processes" \(0 \.\. 262143\)$`},
		},
		"command line without a value": {
			settings: []string{"max_worker_processes"},
			says:     []string{`FATAL:  -c max_worker_processes requires a value`},
		},
		"unknown library": {
			settings: []string{"shared_preload_libraries=nonesuch"},
			says:     []string{`FATAL:  could not access file "nonesuch": No such file or directory`, `HINT:  Libraries compiled into this host: failpoints, faults, worker_spi\. Others are looked for in "dynamic_library_path", which is "\$libdir"\.$`},
		},
		"library path": {
			settings: []string{"shared_preload_libraries=nonesuch", "dynamic_library_path=lib"},
			says:     []string{`FATAL:  component in parameter "dynamic_library_path" is not an absolute path`},
		},
		"library macro": {
			settings: []string{"shared_preload_libraries=$lib/x"},
			says:     []string{`FATAL:  invalid macro name in path: \$lib/x`},
		},
		"Init returns an error": {
			settings: []string{"shared_preload_libraries=faults", "faults.init=error"},
			says:     []string{`FATAL:  could not initialize library "faults": Init does not like it here`, `HINT:  Go elsewhere\.$`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newDataDir(t, "")
			appendTo(t, dir, tt.conf)
			options := []hostOption{inDir(dir)}
			for _, s := range tt.settings {
				options = append(options, withSetting(s))
			}
			h := startHost(t, options...)
			for _, line := range tt.says {
				h.waitLog(line)
			}
			if code := h.awaitExit(); code != 1 {
				t.Errorf("exit code %d", code)
			}
			expectOnlyConfig(t, dir)
		})
	}
}

func expectOnlyConfig(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != host.ConfigFileName {
		t.Errorf("the directory holds %v (%v)", entries, err)
	}
}

func TestDirectoriesThatAreNoneOfOurs(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, dir string)
		says    []string
	}{
		"missing":     {func(*testing.T, string) {}, []string{`FATAL:  could not access directory ".*": No such file or directory$`, `HINT:  Create it with "pgexthost init -D`}},
		"a file":      {func(t *testing.T, dir string) { write(t, dir, "") }, []string{`FATAL:  specified data directory ".*" is not a directory$`}},
		"empty":       {func(t *testing.T, dir string) { mkdir(t, dir, 0o700) }, []string{`FATAL:  could not access host configuration file ".*/pgexthost.conf": No such file or directory$`, `HINT:  Create a data directory with "pgexthost init`}},
		"a server's":  {func(t *testing.T, dir string) { mkdir(t, dir, 0o700); write(t, dir+"/PG_VERSION", "15") }, []string{`HINT:  This is a data directory of PostgreSQL itself`}},
		"too deep":    {func(t *testing.T, dir string) { mkdir(t, dir, 0o700); write(t, dir+"/pgexthost.conf", "") }, []string{`FATAL:  Unix-domain socket path ".*" is too long \(maximum 107 bytes\)$`, `HINT:  Use a data directory with a path of at most 92 bytes`}},
		"open to all": {func(t *testing.T, dir string) { mkdir(t, dir, 0o777) }, []string{`FATAL:  data directory ".*" has invalid permissions$`, `DETAIL:  Permissions should be u=rwx \(0700\)`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(shortTempDir(t), "data")
			if name == "too deep" {
				dir += strings.Repeat("x", 100)
			}
			tt.prepare(t, dir)
			h := startHost(t, inDir(dir))
			for _, line := range tt.says {
				h.waitLog(line)
			}
			if code := h.awaitExit(); code != 1 {
				t.Errorf("exit code %d", code)
			}
			if _, err := lockfile.Read(dir); err == nil {
				t.Error("a lock file is left")
			}
		})
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	if err := os.Mkdir(dir, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil { // past the umask
		t.Fatal(err)
	}
}

func TestAHostCanBeStoppedWhileAnInitHangs(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("shared_preload_libraries=faults"), withSetting("faults.init=hang"))
	h.eventually("the preload child", func() bool { return len(h.children()) == 1 })
	h.signal(unix.SIGINT)
	h.waitLog(`FATAL:  terminating while preloading libraries due to administrator command$`)
	if code := h.awaitExit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
}

// SPEC §12 as seen from a worker: the error is its own, and exit 1.
func TestAWorkerWhoseFunctionIsNotFound(t *testing.T) {
	for name, tt := range map[string]struct {
		worker plugins.BackgroundWorker
		says   string
	}{
		"no library":        {plugins.BackgroundWorker{LibraryName: "nonesuch", FunctionName: "f"}, `ERROR:  could not access file "nonesuch": No such file or directory \(SQLSTATE 58P01\)$`},
		"no function":       {plugins.BackgroundWorker{LibraryName: "faults", FunctionName: "f"}, `ERROR:  could not find function "f" in file "faults" \(SQLSTATE 42883\)$`},
		"no internal":       {plugins.BackgroundWorker{LibraryName: "postgres", FunctionName: "f"}, `ERROR:  internal function "f" not found \(SQLSTATE XX000\)$`},
		"not an executable": {plugins.BackgroundWorker{LibraryName: "/etc/passwd", FunctionName: "f"}, `ERROR:  could not load library "/etc/passwd": invalid ELF header`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.worker.Name, tt.worker.RestartTime = "lost", plugins.NeverRestart
			h := startHost(t, withWorkers(tt.worker))
			h.waitLog(tt.says)
			h.waitLog(`LOG:  background worker "lost" \(PID \d+\) exited with exit code 1$`)
			h.waitLog(`DEBUG:  unregistering background worker "lost"`)
			h.stop()
		})
	}
}

func TestInternalAndLibdirEntryPointsAreFound(t *testing.T) {
	t.Parallel()
	extra, err := plugins.ParallelExtra(3, "faults", "wait")
	if err != nil {
		t.Fatal(err)
	}
	h := startHost(t, withWorkers(
		plugins.BackgroundWorker{Name: "internal", LibraryName: "postgres", FunctionName: "ParallelWorkerMain", Extra: extra},
		plugins.BackgroundWorker{Name: "libdir", LibraryName: "$libdir/faults", FunctionName: "wait"},
	))
	h.waitLog(`LOG:  internal waits$`)
	h.waitLog(`LOG:  libdir waits$`)
	h.stop()
}

// SPEC §2: a static registration that is refused is a LOG line, and the others
// start.
func TestRefusedRegistrationsAreSkipped(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("max_worker_processes=2"), withWorkers(
		plugins.BackgroundWorker{Name: "bad interval", FunctionName: "wait", RestartTime: -2},
		plugins.BackgroundWorker{Name: "bad notify", FunctionName: "wait", NotifyPid: 1},
		plugins.BackgroundWorker{Name: "first", FunctionName: "wait"},
		plugins.BackgroundWorker{Name: "second", FunctionName: "wait"},
		plugins.BackgroundWorker{Name: "third", FunctionName: "wait"},
	))
	for _, line := range []string{
		`LOG:  background worker "bad interval": invalid restart interval$`,
		`LOG:  background worker "bad notify": only dynamic background workers can request notification$`,
		`LOG:  too many background workers$`,
		`DETAIL:  Up to 2 background workers can be registered with the current settings\.$`,
		`HINT:  Consider increasing the configuration parameter "max_worker_processes"\.$`,
		`LOG:  first waits$`,
		`LOG:  second waits$`,
	} {
		h.waitLog(line)
	}
	h.stop()
	// The last registered starts first.
	starts := h.waitLogCount(`DEBUG:  starting background worker process "(\w+)"`, 2)
	if len(starts) != 2 || starts[0][1] != "second" || starts[1][1] != "first" {
		t.Errorf("got %v", starts)
	}
}

// What is wrong with a library's settings does not stop the host: PostgreSQL
// warns and takes the default.
func TestWrongLibrarySettingsAreWarningsWithDefaults(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t, "")
	appendTo(t, dir, "faults.count = 99\nfaults.conut = 3\n")
	h := startHost(t, inDir(dir), withSetting("faults.init=reserve"), withWorkers(plugins.BackgroundWorker{Name: "h", FunctionName: "hup"}))
	h.waitLog(`WARNING:  99 is outside the valid range for parameter "faults.count" \(1 \.\. 10\)$`)
	h.waitLog(`CONTEXT:  .*line \d+ of configuration file`)
	h.waitLog(`WARNING:  invalid configuration parameter name "faults.conut", removing it$`)
	h.waitLog(`DETAIL:  "faults" is now a reserved prefix\.$`)
	h.waitLog(`LOG:  h: faults.count is 1$`)
	h.stop()
	if n := h.count(`WARNING`); n != 2 {
		t.Errorf("%d warnings: every process must not say it again", n)
	}
}

func TestPreloadListSyntaxIsReported(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("shared_preload_libraries=faults,,worker_spi"))
	h.waitLog(`LOG:  invalid list syntax in parameter "shared_preload_libraries"$`)
	h.waitLog(`extension host is ready`)
	h.stop()
}
