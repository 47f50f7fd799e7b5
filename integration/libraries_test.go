//go:build linux

package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// misfit is the program of integration/fixtures/misfit, made when it is needed
// for the first time.
var misfit struct {
	sync.Once
	dir string
	err error
}

// libdir returns a directory with executable libraries that behave as they are
// called, and the setting that has a host look for libraries there.
func libdir(t testing.TB, names ...string) (dir string, search hostOption) {
	t.Helper()
	misfit.Do(func() {
		if misfit.dir, misfit.err = os.MkdirTemp("", "pgx-"); misfit.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", filepath.Join(misfit.dir, "misfit"), "./fixtures/misfit")
		if out, err := cmd.CombinedOutput(); err != nil {
			misfit.err = fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
	})
	if misfit.err != nil {
		t.Fatal(misfit.err)
	}
	dir = shortTempDir(t)
	for _, name := range names {
		install(t, filepath.Join(dir, name))
	}
	return dir, withSetting("dynamic_library_path=" + dir + ":$libdir")
}

// install makes a copy of the program, as an installation does: beside, and then
// in the place of what was there.
func install(t testing.TB, file string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(misfit.dir, "misfit"))
	if err == nil {
		err = os.WriteFile(file+".new", text, 0o700)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func removeMisfit() {
	if misfit.dir != "" {
		_ = os.RemoveAll(misfit.dir)
	}
}

// greeter is a worker of an executable library.
func greeter(library string) plugins.BackgroundWorker {
	return plugins.BackgroundWorker{Name: "greeter", LibraryName: library, FunctionName: "greet", RestartTime: plugins.NeverRestart}
}

func TestExecutablesAreLibraries(t *testing.T) {
	t.Parallel()
	dir, search := libdir(t, "one", "two", "noisy")
	h := startHost(t, search, withSetting("one.greeting=good evening"), withWorkers(greeter("two"), plugins.BackgroundWorker{
		Name: "by path", LibraryName: filepath.Join(dir, "two"), FunctionName: "greet", RestartTime: plugins.NeverRestart,
	}), withSetting("shared_preload_libraries=faults, one, noisy"))
	h.waitLog(`LOG:  one says good evening$`)
	h.waitLog(`LOG:  noisy says hello$`)
	h.waitLogCount(`LOG:  two says hello$`, 2)
	pid := h.workerPid("one worker")
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || program != filepath.Join(dir, "one") {
		t.Errorf("the worker runs %s, %v", program, err)
	}
	h.stop()
}

func TestAParallelWorkerRunsInTheExecutableOfItsLibrary(t *testing.T) {
	t.Parallel()
	_, search := libdir(t, "one")
	extra, err := plugins.ParallelExtra(1, "one", "greet")
	if err != nil {
		t.Fatal(err)
	}
	h := startHost(t, search, withWorkers(plugins.BackgroundWorker{Name: "internal", LibraryName: plugins.InternalLibrary, FunctionName: "ParallelWorkerMain", Extra: extra}))
	h.waitLog(`LOG:  one says hello$`)
	h.stop()
}

// A worker whose library can't be loaded fails as in PostgreSQL, with the reason,
// and nobody else does.
func TestAWorkerOfAnUnusableLibrarySaysWhyItFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, file string)
		says    []string
	}{
		"no_program": {
			func(t *testing.T, file string) { t.Helper(); put(t, file, "just a text", 0o700) },
			[]string{`ERROR:  could not load library "no_program": invalid ELF header \(SQLSTATE XX000\)$`, `HINT:  A library is an executable: `},
		},
		"not_executable": {
			func(t *testing.T, file string) {
				t.Helper()
				if err := os.Chmod(file, 0o600); err != nil {
					t.Fatal(err)
				}
			},
			[]string{`ERROR:  could not access file "not_executable": Permission denied \(SQLSTATE 42501\)$`, `HINT:  The file is not executable: chmod \+x `},
		},
		"gone": {
			func(t *testing.T, file string) {
				t.Helper()
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			},
			[]string{`ERROR:  could not access file "gone": No such file or directory \(SQLSTATE 58P01\)$`, `HINT:  Libraries compiled into this host: .* Others are looked for in "dynamic_library_path", which is "/`},
		},
		"pipe": {
			func(t *testing.T, file string) {
				t.Helper()
				if err := errors.Join(os.Remove(file), unix.Mkfifo(file, 0o700)); err != nil {
					t.Fatal(err)
				}
			},
			[]string{`ERROR:  could not load library "pipe": it is not a regular file \(SQLSTATE XX000\)$`},
		},
		"exits": {nil, []string{
			`LOG:  background worker "greeter" \(PID \d+\) could not be started: could not load library "exits": it exited with exit code 3$`,
			`HINT:  It has to call plugins.Main first thing`,
		}},
		"panics": {nil, []string{
			`panic: before plugins.Main`,
			`LOG:  background worker "greeter" \(PID \d+\) could not be started: could not load library "panics": it exited with exit code 2$`,
		}},
		"lies": {nil, []string{
			`LOG:  background worker "greeter" \(PID \d+\) could not be started: incompatible library "lies": ABI mismatch$`,
			`DETAIL:  Server has ABI "1", library has "2"\.$`,
		}},
		"babbles": {nil, []string{
			`could not be started: could not load library "babbles": could not read the answer to the start-up message: malformed handshake message: it starts with "Good"$`,
		}},
		"hangs": {nil, []string{
			`could not be started: could not load library "hangs": it did not answer the host$`, `HINT:  Nothing that takes long may come before plugins.Main`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, search := libdir(t, name)
			if tt.prepare != nil {
				tt.prepare(t, filepath.Join(dir, name))
			}
			h := startHost(t, search, withSetting("library_init_timeout=3s"), withWorkers(
				plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait"}, greeter(name)))
			for _, line := range tt.says {
				h.waitLog(line)
			}
			h.waitLog(`DEBUG:  unregistering background worker "greeter"$`)
			h.waitLog(`LOG:  bystander waits$`)
			h.stop()
		})
	}
}

func put(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// Whatever Init does, the host starts, and so do the workers of other libraries.
func TestNothingThatAnInitDoesHarmsOthers(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"init_panics":              `WARNING:  library "init_panics" was not preloaded: library "misfit" panicked in its Init: in Init$`,
		"init_exits":               `WARNING:  library "init_exits" was not preloaded: preload process \(PID \d+\) exited with exit code 3$`,
		"init_loops":               `WARNING:  library "init_loops" was not preloaded: its Init has not returned within 3s$`,
		"init_registers_a_million": `LOG:  999[0-9]* more background workers were refused$`,
		"hangs":                    `WARNING:  library "hangs" was not preloaded: its Init has not returned within 3s$`,
		"exits":                    `WARNING:  library "exits" was not preloaded: preload process \(PID \d+\) exited with exit code 3$`,
		"escapes":                  `WARNING:  library "escapes" was not preloaded: preload process \(PID \d+\) exited with exit code 3$`,
		"babbles":                  `WARNING:  library "babbles" was not preloaded: could not load library "babbles": `,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, search := libdir(t, name, "one")
			patience := "3s"
			if name == "init_registers_a_million" {
				patience = "1min"
			}
			h := startHost(t, search, withSetting("log_min_messages=info"), withSetting("library_init_timeout="+patience),
				withWorkers(plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait"}), withSetting("shared_preload_libraries=one, "+name+", faults"))
			h.waitLog(says)
			h.waitLog(`LOG:  extension host is ready$`)
			h.waitLog(`LOG:  one says hello$`)
			if name == "escapes" {
				h.kill(h.leftBehind())
			}
			if name != "init_registers_a_million" { // which has taken all slots but one
				h.waitLog(`LOG:  bystander waits$`)
			}
			h.stop()
			if n := len(h.logLines()); n > 1000 {
				t.Errorf("the log has %d lines", n)
			}
		})
	}
}

// What PostgreSQL refuses to start with, the host does, too.
func TestAnUnusableLibraryEndsTheStart(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"init_errors":  `FATAL:  could not initialize library "misfit": it does not like it here$`,
		"init_goexits": `FATAL:  could not initialize library "misfit": it called runtime.Goexit$`,
		"lies":         `FATAL:  incompatible library "lies": ABI mismatch$`,
		"gone":         `FATAL:  could not access file "gone": No such file or directory$`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, search := libdir(t, name)
			if name == "gone" {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			h := startHost(t, search, withSetting("shared_preload_libraries="+name))
			h.waitLog(says)
			if code := h.awaitExit(); code != 1 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// The executable of a running worker can be replaced, as long as it is by
// another file: the worker goes on, and the next one runs from the new.
func TestTheNextStartUsesTheNewFile(t *testing.T) {
	t.Parallel()
	dir, search := libdir(t, "one")
	file := filepath.Join(dir, "one")
	h := startHost(t, search, withSetting("crash_scope=worker"), withWorkers(
		plugins.BackgroundWorker{Name: "greeter", LibraryName: "one", FunctionName: "greet", RestartTime: 0}))
	h.waitLog(`LOG:  one says hello$`)
	old := h.workerPid("greeter")
	install(t, file)
	if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", old)); err != nil || !strings.HasSuffix(program, " (deleted)") {
		t.Fatalf("the worker runs %s, %v", program, err)
	}
	h.kill(old)
	h.waitLogCount(`LOG:  one says hello$`, 2)
	fresh := h.workerPid("greeter")
	if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", fresh)); err != nil || program != file {
		t.Errorf("the next one runs %s, %v", program, err)
	}
	put(t, file+".new", "garbage", 0o700)
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	h.kill(fresh)
	h.waitLog(`ERROR:  could not load library "one": invalid ELF header`)
	install(t, file)
	h.waitLogCount(`LOG:  one says hello$`, 3)
	h.stop()
}

// The slots are one number for all libraries, though each registers in a process
// of its own.
func TestTwoLibrariesShareTheSlots(t *testing.T) {
	t.Parallel()
	_, search := libdir(t, "one", "two", "three")
	h := startHost(t, search, withSetting("max_worker_processes=2"), withSetting("shared_preload_libraries=one, two, three"))
	h.waitLog(`LOG:  too many background workers$`)
	h.waitLog(`DETAIL:  Up to 2 background workers can be registered with the current settings\.$`)
	h.waitLog(`LOG:  one says hello$`)
	h.waitLog(`LOG:  two says hello$`)
	h.stop()
	if n := h.count(`three says`); n != 0 {
		t.Error("the third has a worker")
	}
}

func TestALibraryNamedTwiceIsLoadedOnce(t *testing.T) {
	t.Parallel()
	dir, search := libdir(t, "one")
	if err := os.Symlink("one", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "one"), filepath.Join(dir, "other")); err != nil {
		t.Fatal(err)
	}
	h := startHost(t, search, withWorkers(greeter(dir+"/.//one")),
		withSetting("shared_preload_libraries=faults, one, link, other, "+filepath.Join(dir, "one")+", "+dir+"//./one"))
	h.waitLog(`LOG:  extension host is ready$`)
	h.waitLogCount(`LOG:  one says hello$`, 2) // its own worker, and the greeter
	h.stop()
	if n := h.count(`DEBUG:  starting background worker process "[a-z]+ worker"$`); n != 1 {
		t.Errorf("its worker was started %d times", n)
	}
	if n := h.count(`must be registered in "shared_preload_libraries"`); n != 0 {
		t.Error("under another name it does not count as preloaded")
	}
}

// leftBehind waits until a library has left a process behind, and returns its pid.
func (h *testHost) leftBehind() int {
	h.t.Helper()
	text := h.waitLog(`has left process (\d+) behind$`)[1]
	pid, err := strconv.Atoi(text)
	if err != nil {
		h.t.Fatal(err)
	}
	return pid
}

// An Init runs at each start and at each config check.
func TestAProcessThatAnInitHasStartedEndsWithIt(t *testing.T) {
	t.Parallel()
	_, search := libdir(t, "init_leaves")
	h := startHost(t, search, withSetting("shared_preload_libraries=init_leaves"))
	h.waitLog(`LOG:  extension host is ready$`)
	h.awaitEnd(h.leftBehind())
	h.stop()
}

func (h *testHost) awaitEnd(pid int) {
	h.t.Helper()
	h.eventually("the process to end", func() bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) || isZombie(pid) })
}

// isZombie reports whether a process has ended and nobody has reaped it, as in a
// container without an init process.
func isZombie(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Contains(string(text), ") Z ")
}

// An installation that writes to the file may be about to end.
func TestALibraryThatIsBeingWrittenIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		patience time.Duration
		says     string
	}{
		"for a while":  {500 * time.Millisecond, `LOG:  one says hello$`},
		"not for ever": {time.Hour, `FATAL:  could not load library "one": could not execute "/.*/one": Text file busy$`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, search := libdir(t, "one")
			writer, err := os.OpenFile(filepath.Join(dir, "one"), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer writer.Close()
			timer := time.AfterFunc(tt.patience, func() { _ = writer.Close() })
			defer timer.Stop()
			h := startHost(t, search, withSetting("shared_preload_libraries=one"))
			h.waitLog(tt.says)
			if tt.patience == time.Hour {
				if code := h.awaitExit(); code != 1 {
					t.Errorf("exit code %d", code)
				}
				return
			}
			h.stop()
		})
	}
}

// worker_spi is compiled into pgexthost, and ships as an executable, too.
func TestWorkerSpiRunsFromItsExecutable(t *testing.T) {
	t.Parallel()
	conninfo := newDatabase(t, "spi_executable")
	file := filepath.Join(shortTempDir(t), "worker_spi")
	if out, err := exec.Command("go", "build", "-o", file, "../cmd/worker_spi").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h := startHost(t, withServer(conninfo), withSetting("dynamic_library_path="+filepath.Dir(file)), withSetting("shared_preload_libraries=worker_spi"),
		withSetting("worker_spi.database=spi_executable"))
	h.waitLog(`LOG:  worker_spi worker 1 initialized with schema1\.counted$`)
	h.waitLog(`LOG:  worker_spi worker 2 initialized with schema2\.counted$`)
	if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", h.workerPid("worker_spi worker 1"))); err != nil || program != file {
		t.Errorf("it runs from %s, %v", program, err)
	}
	h.stop()
}
