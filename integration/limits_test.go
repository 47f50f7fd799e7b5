//go:build linux

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

var limitedOnce struct {
	sync.Once
	err error
}

// limitedLibraries is libdir with libraries that tell what they may use, and use
// more.
func limitedLibraries(t testing.TB, names ...string) (dir string, search hostOption) {
	t.Helper()
	dir, search = libdir(t)
	program := filepath.Join(misfit.dir, "limited")
	o := &limitedOnce
	o.Do(func() {
		build := exec.Command("go", "build", "-o", program, "./fixtures/limited")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			o.err = fmt.Errorf("%s: %w\n%s", build, err, out)
		}
	})
	if o.err != nil {
		t.Fatal(o.err)
	}
	for _, name := range names {
		copyFile(t, program, filepath.Join(dir, name))
	}
	return dir, search
}

func withLimits(text string) hostOption { return withSetting("library_limits=" + text) }

// limitedWorker is a worker in a function of the library limited.
func limitedWorker(library, function string) plugins.BackgroundWorker {
	return plugins.BackgroundWorker{Name: library + "." + function, LibraryName: library, FunctionName: function, RestartTime: plugins.NeverRestart}
}

func TestLimitsHoldBeforeTheCodeOfALibraryRuns(t *testing.T) {
	t.Parallel()
	for user, options := range map[string][]hostOption{"this user": nil, "any user": {asStranger()}} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			limitsHold(t, options)
		})
	}
}

func limitsHold(t *testing.T, options []hostOption) {
	t.Helper()
	dir, search := limitedLibraries(t, "queue", "other")
	work := shortTempDir(t)
	for _, d := range []string{dir, work} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	byPath := limitedWorker(filepath.Join(dir, "queue"), "tell")
	byPath.Name = "by path"
	h := startHost(t, append(options, search, withEnvironment("TZ=UTC"), withSetting("limited.init=tell"),
		withLimits(`queue: memory=64MB files=200 nice=15 no_new_privileges directory=`+work+` env.GREETING="good day" env.TZ; *: nice=17`),
		withWorkers(limitedWorker("queue", "tell"), byPath, limitedWorker("other", "tell"), plugins.BackgroundWorker{Name: "compiled in", FunctionName: "wait"}),
		withSetting("shared_preload_libraries=queue, faults"))...)
	limited := `may files=200 data=1[0-9][0-9] MB dir=` + work + ` GREETING="good day" GOMEMLIMIT="60397974" told=false$`
	h.waitLog(`LOG:  Init ` + limited)
	h.waitLog(`LOG:  queue.tell ` + limited)
	h.waitLog(`LOG:  by path ` + limited)
	h.waitLog(`LOG:  other.tell may files=\d+ data=\d+ MB dir=` + h.dir + ` GREETING="" GOMEMLIMIT="" told=false$`)
	h.waitLog(`LOG:  compiled in waits$`)
	h.checkLimited(h.workerPid("queue.tell"))
	if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", h.workerPid("queue.tell"))); err != nil || program != filepath.Join(dir, "queue") {
		t.Errorf("it runs %s, %v", program, err)
	}
	for worker, want := range map[string]int{"queue.tell": 15, "by path": 15, "other.tell": 17, "compiled in": 17} {
		if nice := h.nice(h.workerPid(worker)); nice != want {
			t.Errorf("%s: niceness %d, want %d", worker, nice, want)
		}
	}
	if status := h.proc(h.workerPid("other.tell"), "status"); !strings.Contains(status, "\nNoNewPrivs:\t0\n") {
		t.Errorf("other: %s", status)
	}
	h.stop()
}

// checkLimited looks at what the kernel knows of the process.
func (h *testHost) checkLimited(pid int) {
	h.t.Helper()
	if limits := h.proc(pid, "limits"); !strings.Contains(limits, "Max open files            200                  200 ") {
		h.t.Errorf("limits: %s", limits)
	}
	if status := h.proc(pid, "status"); !strings.Contains(status, "\nNoNewPrivs:\t1\n") {
		h.t.Errorf("status: %s", status)
	}
	if env := "\x00" + h.proc(pid, "environ"); strings.Contains(env, "\x00TZ=") || strings.Contains(env, "PGEXTHOST_LIMITS") || !strings.Contains(env, "\x00GREETING=good day\x00") {
		h.t.Errorf("environment: %q", env)
	}
}

// proc returns a file of a process's.
func (h *testHost) proc(pid int, name string) string {
	h.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

// nice returns the niceness of a process, and fails the test if that of its
// session is another; only root can count on it.
func (h *testHost) nice(pid int) (nice int) {
	h.t.Helper()
	_, rest, _ := strings.Cut(h.proc(pid, "stat"), ") ")
	if _, err := fmt.Sscan(strings.Fields(rest)[16], &nice); err != nil {
		h.t.Fatal(err)
	}
	if path := fmt.Sprintf("/proc/%d/autogroup", pid); exists(path) && os.Geteuid() == 0 && h.cmd.SysProcAttr.Credential == nil {
		if group := h.proc(pid, "autogroup"); !strings.HasSuffix(group, fmt.Sprintf(" nice %d\n", nice)) {
			h.t.Errorf("niceness %d in %s", nice, group)
		}
	}
	return nice
}

// The process is the host's child as any other is: signals that wait for it and
// the news of the host's death arrive.
func TestAProcessWithLimitsIsAChildAsAnyOther(t *testing.T) {
	t.Parallel()
	_, search := limitedLibraries(t, "queue")
	h := startHost(t, search, withLimits("*: nice=1"), withWorkers(limitedWorker("queue", "tell"), plugins.BackgroundWorker{Name: "compiled in", FunctionName: "hup"}))
	h.waitLog(`LOG:  queue.tell may `)
	pid := h.workerPid("queue.tell")
	if pgid, err := unix.Getpgid(pid); err != nil || pgid != pid {
		t.Errorf("process group %d, %v", pgid, err)
	}
	h.freeze(pid)
	if err := h.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	h.eventually("the kernel's signal", func() bool { return h.processSignals(pid, "ShdPnd")>>(plugins.PostmasterDeathSignal-1)&1 != 0 })
	kill(t, pid, unix.SIGCONT)
	h.awaitExit()
}

// A limit that can't be put into force keeps the library from running, and says
// so. Nobody else suffers.
func TestWithoutItsLimitsALibraryDoesNotRun(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ limits, says, hint string }{
		"missing directory": {
			"*: directory=/nowhere/at/all",
			`could not set "directory" of library "NAME" to "/nowhere/at/all": No such file or directory$`,
			`HINT:  "library_limits" asks for it: the host's user needs a directory there, which it may enter\.$`,
		},
		"no directory": {"*: directory=/etc/passwd", `could not set "directory" of library "NAME" to "/etc/passwd": Not a directory$`, `HINT:  `},
		"negative niceness": {
			"*: nice=-5", `could not set "nice" of library "NAME" to -5: Permission denied$`, `HINT:  "library_limits" asks for it: .* takes CAP_SYS_NICE or a greater RLIMIT_NICE\.$`,
		},
	} {
		for _, library := range []string{"queue", "faults"} {
			t.Run(name+" of "+library, func(t *testing.T) {
				t.Parallel()
				dir, search := limitedLibraries(t, "queue")
				if err := os.Chmod(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				limits, bystander := tt.limits+"; faults:", plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait"}
				victim := plugins.BackgroundWorker{Name: "victim", LibraryName: library, FunctionName: "tell", RestartTime: plugins.NeverRestart}
				if library == "faults" {
					limits, bystander.LibraryName, bystander.FunctionName = tt.limits+"; queue:", "queue", "tell"
				}
				says := strings.ReplaceAll(tt.says, "NAME", library)
				preload := "shared_preload_libraries=faults, queue"
				if library == "faults" {
					preload = "shared_preload_libraries=queue, faults" // it registers nobody
				}
				h := startHost(t, search, asStranger(), withSetting("limited.init=tell"), withWorkers(bystander, victim), withLimits(limits), withSetting(preload))
				h.waitLog(`WARNING:  library "` + library + `" was not preloaded: ` + says)
				h.waitLog(tt.hint)
				h.waitLog(`LOG:  extension host is ready$`)
				if library == "queue" {
					h.waitLog(`LOG:  background worker "victim" \(PID \d+\) could not be started: ` + says)
					h.waitLogCount(tt.hint, 2)
					h.waitLog(`LOG:  bystander waits$`)
				}
				h.stop()
				if n := h.count(`(Init|victim) may`); n != 0 && library == "queue" {
					t.Errorf("it ran")
				}
			})
		}
	}
}

// A crash says what memory there was if it came near the limit, and only then.
func TestTheCrashOfAHogTellsItsLimit(t *testing.T) {
	t.Parallel()
	_, search := limitedLibraries(t, "queue")
	hog := limitedWorker("queue", "hog")
	h := startHost(t, search, withLimits(`queue: memory=400MB nice=3`), withWorkers(
		plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait"}, hog, limitedWorker("queue", "big"), limitedWorker("queue", "panic")))
	h.waitLog(`^fatal error: runtime: (out of memory|cannot allocate memory)`)
	h.waitLog(`LOG:  background worker "queue.hog" \(PID \d+\) exited with exit code 2$`)
	h.waitLog(`DETAIL:  Library "queue" may use 400 MB of memory; its process had used up to (3[2-9]|4[0-4])\d MB\.$`)
	h.waitLog(`HINT:  If it needs more, raise "memory" of the library in "library_limits"\.$`)
	h.waitLog(`LOG:  background worker "queue.big" \(PID \d+\) exited with exit code 2$`)
	h.waitLog(`LOG:  background worker "queue.panic" \(PID \d+\) exited with exit code 2$`)
	h.waitLog(`LOG:  bystander waits$`)
	h.stop()
	if n := h.count(`DETAIL:  Library "queue" may use`); n != 1 {
		t.Errorf("%d lines about the memory of three workers, one of which came near its limit", n)
	}
}

func TestAnErrorForLackOfSomethingLimitedTellsTheLimit(t *testing.T) {
	t.Parallel()
	_, search := limitedLibraries(t, "queue", "free")
	h := startHost(t, search, withLimits(`queue: memory=64MB files=64`), withWorkers(
		limitedWorker("queue", "open"), limitedWorker("queue", "map"), plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait"}))
	h.waitLog(`ERROR:  could not open all that it wanted: open /: too many open files \(SQLSTATE XX000\)$`)
	h.waitLog(`DETAIL:  This process may have 64 files open at a time\.$`)
	h.waitLog(`HINT:  If it needs more, raise "files" of library "queue" in "library_limits"\.$`)
	h.waitLog(`ERROR:  mmap: cannot allocate memory \(SQLSTATE XX000\)$`)
	h.waitLog(`DETAIL:  This process may use 64 MB of memory\.$`)
	h.waitLog(`HINT:  If it needs more, raise "memory" of library "queue" in "library_limits"\.$`)
	h.waitLog(`LOG:  bystander waits$`)
	h.stop()
}

// Limits hold in Init, where a hog is left out.
func TestAnInitMeetsTheLimitsOfItsLibrary(t *testing.T) {
	t.Parallel()
	for what, says := range map[string][]string{
		"hog": {
			`WARNING:  library "queue" was not preloaded: preload process \(PID \d+\) exited with exit code 2$`,
			`DETAIL:  Library "queue" may use 400 MB of memory; its process had used up to \d+ MB\.$`,
			`LOG:  bystander waits$`,
		},
		"open": {
			`FATAL:  could not initialize library "limited": could not open all that it wanted: open /: too many open files$`,
			`DETAIL:  This process may have 64 files open at a time\.$`,
			`HINT:  If it needs more, raise "files" of library "queue" in "library_limits"\.$`,
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_, search := limitedLibraries(t, "queue")
			h := startHost(t, search, withSetting("limited.init="+what), withLimits("queue: memory=400MB files=64"),
				withWorkers(plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait"}), withSetting("shared_preload_libraries=queue, faults"))
			for _, line := range says {
				h.waitLog(line)
			}
		})
	}
}

// The next start has the limits that the last reload has read.
func TestAReloadChangesTheLimitsOfTheNextStart(t *testing.T) {
	t.Parallel()
	_, search := limitedLibraries(t, "queue")
	worker := limitedWorker("queue", "tell")
	worker.RestartTime = 0
	dir := newDataDir(t, "")
	configure := func(text string) {
		put(t, filepath.Join(dir, "pgexthost.conf"), "library_limits = '"+text+"'\n", 0o600)
	}
	configure("queue: files=100")
	h := startHost(t, inDir(dir), search, withSetting("crash_scope=worker"), withWorkers(worker))
	h.waitLog(`LOG:  queue.tell may files=100 `)
	configure("queue: files=101")
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  parameter "library_limits" changed to "queue: files=101"$`)
	pid := h.workerPid("queue.tell")
	if !strings.Contains(h.proc(pid, "limits"), "Max open files            100 ") {
		t.Errorf("the reload has changed a running process: %s", h.proc(pid, "limits"))
	}
	h.kill(pid)
	h.waitLog(`LOG:  queue.tell may files=101 `)
	configure("queue: fils=102") // what is wrong changes nothing
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  invalid value for parameter "library_limits": "queue: fils=102"$`)
	h.waitLog(`DETAIL:  Unrecognized limit "fils" of library "queue"\.$`)
	h.kill(h.workerPid("queue.tell"))
	h.waitLogCount(`LOG:  queue.tell may files=101 `, 2)
	h.stop()
}

// With the least that can be asked for, a worker lives and works.
func TestTheSmallestLimitsLeaveRoomForAWorkerWithASession(t *testing.T) {
	t.Parallel()
	_, search := limitedLibraries(t, "queue")
	worker := limitedWorker("queue", "work")
	worker.Flags, worker.StartTime = plugins.BackendDatabaseConnection, plugins.StartAtRecoveryFinished
	h := startHost(t, search, withServer(sharedServer(t).ConnInfo()), withLimits("queue: memory=16MB files=16"), withWorkers(worker))
	h.waitLog(`LOG:  queue.work has read 10000 rows$`)
	h.stop()
}
