//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

const noProcess = `LOG:  could not fork background worker process: could not execute "/proc/self/exe": Resource temporarily unavailable$`

// SPEC §4: a want of processes is transient, whoever sets the limit. A worker
// that never restarts has but this one start, and gets it.
func TestAWantOfProcessesIsOvercome(t *testing.T) {
	for name, scarcity := range map[string]func(*testing.T) (option hostOption, begin, end func(*testHost)){
		"RLIMIT_NPROC": func(*testing.T) (hostOption, func(*testHost), func(*testHost)) {
			return asStranger(),
				func(h *testHost) { h.limit(unix.RLIMIT_NPROC, 1) },
				func(h *testHost) { h.limit(unix.RLIMIT_NPROC, unlimited) }
		},
		"pids.max": pidsMax,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			option, begin, end := scarcity(t)
			h, ls := startLaunchers(t, []string{"l"}, option)
			l := ls[0]
			begin(h)
			handle := l.register(waiter("d"))
			h.waitLog(noProcess)
			l.wantStatus(handle, plugins.HandleNotYetStarted, 0)
			end(h)
			pid := l.awaitStart(handle)
			l.wantStatus(handle, plugins.HandleStarted, pid)
			h.waitLog(`LOG:  d waits$`)
			if n := h.count(noProcess); n != 1 {
				t.Errorf("%d lines say so", n)
			}
			h.stop()
		})
	}
}

// pidsMax limits the host by a control group, as containers do: not even root
// is exempt.
func pidsMax(t *testing.T) (option hostOption, begin, end func(*testHost)) {
	group := makeGroup(t, "pids")
	put := func(h *testHost, file, text string) {
		h.t.Helper()
		if err := os.WriteFile(filepath.Join(group, file), []byte(text), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	begin = func(h *testHost) {
		put(h, "pids.max", "1")
		put(h, "cgroup.procs", fmt.Sprint(h.pid()))
	}
	return func(*hostConfig) {}, begin, func(h *testHost) { put(h, "pids.max", "max") }
}

// makeGroup makes a control group with a controller, of whichever version.
func makeGroup(t *testing.T, controller string) string {
	t.Helper()
	parent := "/sys/fs/cgroup/" + controller
	if list, err := os.ReadFile("/sys/fs/cgroup/cgroup.subtree_control"); err == nil && strings.Contains(string(list), controller) {
		parent = "/sys/fs/cgroup"
	}
	group := filepath.Join(parent, fmt.Sprintf("pgexthost-test-%d-%d", os.Getpid(), users.Add(1)))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skip("this machine lets nobody make control groups: ", err)
	}
	t.Cleanup(func() { _ = os.Remove(group) }) // after the host, whose end was to come first
	return group
}

// A want that lasts is a failed start after all: whoever waits is told, and the
// worker forgotten. The host lives on.
func TestAWantOfProcessesThatLastsIsAFailedStart(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l"}, asStranger())
	l := ls[0]
	h.limit(unix.RLIMIT_NPROC, 1)
	handle := l.register(waiter("d"))
	if a := l.do(order{Do: "await start", Handle: handle}); !a.Stopped || a.Code != "53000" {
		t.Errorf("who waits is told %+v", a)
	}
	h.limit(unix.RLIMIT_NPROC, unlimited)
	l.awaitStart(l.register(waiter("e")))
	h.stop()
	if n := h.count(noProcess); n != 2 { // when it began, and when it was given up
		t.Errorf("%d lines say so", n)
	}
	if n := h.count(`DEBUG:  unregistering background worker "d"$`); n != 1 {
		t.Errorf("it was forgotten %d times", n)
	}
	if n := h.count(`DEBUG:  starting background worker process "d"$`); n < 3 || n > 12 {
		t.Errorf("%d attempts in ten seconds", n)
	}
}

// The Go runtime ends a program that can't have another thread. A host has all
// it needs before it begins, however many processors it may use and however
// much happens at once.
func TestTheHostOutlivesAWantOfThreads(t *testing.T) {
	t.Parallel()
	const workers = 40
	var all []plugins.BackgroundWorker
	for i := range workers {
		all = append(all, plugins.BackgroundWorker{Name: fmt.Sprint("w", i), FunctionName: "wait", RestartTime: 0})
	}
	h := startHost(t, asStranger(), withEnvironment("GOMAXPROCS=8"), withSetting(fmt.Sprint("max_worker_processes=", workers)), withWorkers(all...))
	h.waitLogCount(`LOG:  w\d+ waits$`, workers)
	threads := h.threads()
	h.limit(unix.RLIMIT_NPROC, 1)
	for _, pid := range h.children() {
		kill(t, pid, unix.SIGKILL)
		h.signal(unix.SIGHUP) // so that there is something else to do
	}
	h.waitLogCount(noProcess, workers)
	h.limit(unix.RLIMIT_NPROC, unlimited)
	h.waitLogCount(`LOG:  w\d+ waits$`, 2*workers)
	if now := h.threads(); now > threads {
		t.Errorf("the host has had %d threads, and now %d", threads, now)
	}
	h.stop()
	if n := h.count(`newosproc`); n != 0 {
		t.Error("somebody has died of it")
	}
}

// threads counts the threads of the host.
func (h *testHost) threads() int {
	h.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", h.pid()))
	if err != nil {
		h.t.Fatal(err)
	}
	return len(entries)
}
