package pluginstest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Log returns what the host and its workers have logged so far, over all starts.
func (h *Host) Log() []Record { return h.log.all() }

// AwaitLog returns the first record whose text, as String returns it, contains a
// text: one that has been logged already, or comes. It fails the test if the host
// ends without one.
func (h *Host) AwaitLog(t testing.TB, text string) Record {
	t.Helper()
	return h.AwaitLogs(t, text, 1)[0]
}

// AwaitLogs waits until at least n records contain a text, as AwaitLog does for one,
// and returns them.
func (h *Host) AwaitLogs(t testing.TB, text string, n int) []Record {
	t.Helper()
	found, ended := h.log.await(text, n, h.current().logged, deadline(t))
	if len(found) < n {
		verb := "does not come to log"
		if ended {
			verb = "has ended without logging"
		}
		t.Fatalf("the host %s %q, %d of %d times; its log:\n%s", verb, text, len(found), n, h.log.text())
	}
	return found
}

// WorkerPid returns the process id of a worker, by its name, once there is such a
// process. It fails the test if none comes. Of several with that name it is any.
func (h *Host) WorkerPid(t testing.TB, name string) (pid int) {
	t.Helper()
	Await(t, fmt.Sprintf("a process of worker %q", name), func() bool {
		for _, child := range childrenOf(h.Pid()) {
			if strings.HasSuffix(titleOf(child), ": "+name) {
				pid = child
				return true
			}
		}
		return false
	})
	return pid
}

func childrenOf(pid int) (pids []int) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, thread := range threads {
		text, _ := os.ReadFile(thread) // the thread may have ended
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// titleOf returns what ps shows as the command of a process of a host.
func titleOf(pid int) string {
	title, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimRight(string(title), "\x00")
}
