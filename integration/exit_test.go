//go:build linux

package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/plugins"
)

// Each way a worker can end, with SPEC §6's outcome: what the log says, and
// whether the worker is started again (its restart interval is 0) or forgotten.
func TestWorkerEnds(t *testing.T) {
	const (
		exit1 = `LOG:  background worker "kind" \(PID %s\) exited with exit code 1$`
		exit2 = `LOG:  background worker "kind" \(PID %s\) exited with exit code 2$`
	)
	for _, tt := range []struct {
		function string
		says     string // a line of the worker's own
		exit     string // the postmaster's line about it
		again    bool   // it is started again
	}{
		{"return_nil", ``, `DEBUG:  background worker "kind" \(PID %s\) exited with exit code 0$`, false},
		{"return_error", `ERROR:  something failed \(SQLSTATE XX000\)$`, exit1, true},
		{"return_sqlstate", `ERROR:  could not do it: no such thing \(SQLSTATE 42704\)$`, exit1, true},
		{"panic", `ERROR:  panic: at the disco \(SQLSTATE XX000\)$`, exit1, true},
		{"goexit", `ERROR:  the worker's main function called runtime\.Goexit`, exit1, true},
		{"panic_elsewhere", `^panic: in another goroutine`, exit2, true},
		{"exit_0", ``, `DEBUG:  background worker "kind" \(PID %s\) exited with exit code 0$`, false},
		{"exit_1", ``, exit1, true},
		{"exit_7", ``, `LOG:  background worker "kind" \(PID %s\) exited with exit code 7$`, true},
		{"log_fatal", `the log package says goodbye`, exit1, true},
	} {
		t.Run(tt.function, func(t *testing.T) {
			t.Parallel()
			h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "a worker", Type: "kind", FunctionName: tt.function}))
			pid := h.waitLog(`background worker "kind" \(PID (\d+)\) exited`)[1]
			h.waitLog(fmt.Sprintf(tt.exit, pid))
			if tt.says != "" {
				h.waitLog(tt.says)
			}
			if tt.again {
				h.waitLogCount(`background worker "kind" \(PID \d+\) exited`, 3)
			} else {
				h.waitLog(`DEBUG:  unregistering background worker "a worker"`)
			}
			h.stop()
			if n := h.count(`starting background worker process "a worker"`); !tt.again && n != 1 {
				t.Errorf("it was started %d times", n)
			}
		})
	}
}

func TestAWorkerThatNeverRestartsIsForgottenWhateverWayItEnds(t *testing.T) {
	for _, function := range []string{"return_nil", "return_error", "panic_elsewhere"} {
		t.Run(function, func(t *testing.T) {
			t.Parallel()
			h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "once", FunctionName: function, RestartTime: plugins.NeverRestart}))
			h.waitLog(`background worker "once" \(PID \d+\) exited`)
			h.waitLog(`DEBUG:  unregistering background worker "once"`)
			h.stop()
			if n := h.count(`starting background worker process "once"`); n != 1 {
				t.Errorf("it was started %d times", n)
			}
		})
	}
}

func TestAKilledWorkerIsReportedAndRestarted(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "victim", Type: "kind", FunctionName: "wait_busy"}))
	for i := range 3 {
		h.waitLogCount(`LOG:  victim waits$`, i+1)
		pids := h.children()
		if len(pids) != 1 {
			t.Fatalf("the host has children %v", pids)
		}
		if err := unix.Kill(pids[0], unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		h.waitLog(fmt.Sprintf(`LOG:  background worker "kind" \(PID %d\) was terminated by signal 9: Killed$`, pids[0]))
		h.waitLogCount(`DETAIL:  Failed process was running: SELECT busy\(\)$`, i+1)
	}
	h.stop()
}

func TestAWorkerThatEndsInOrderWasRunningNothing(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "failing", Type: "kind", FunctionName: "busy_error", RestartTime: plugins.NeverRestart}))
	h.waitLog(`LOG:  background worker "kind" \(PID \d+\) exited with exit code 1$`)
	h.stop()
	if n := h.count(`Failed process was running`); n != 0 {
		t.Errorf("%d lines say what it was running", n)
	}
}

// A process started by a worker is no child of the host's.
func TestGrandchildrenAreNotTakenForChildren(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "w3", FunctionName: "grandchild"}))
	file := fmt.Sprintf("/proc/%d/environ", h.grandchild())
	var environment []byte
	h.eventually("the environment to be there", func() bool { // it is empty while the exec goes on
		environment, _ = os.ReadFile(file)
		return strings.Contains(string(environment), "PATH=")
	})
	if strings.Contains(string(environment), handshake.EnvChild) {
		t.Errorf("its environment is %q", environment)
	}
	h.stop()
}

// A SIGTERM at any moment of a worker's life, from the fork on, is exit 1 or a
// termination before the start, and never a crash, a hang or a clean exit.
func TestASigtermAtAnyMomentIsNoCrash(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "target", Type: "kind", FunctionName: "wait"}))
	h.waitLog(`starting background worker process "target"`)
	h.awaitControlServer() // before its exec, it looks like any child
	const rounds = 200
	killed := make(map[int]bool)
	deadline := time.Now().Add(limit)
	for len(killed) < rounds && time.Now().Before(deadline) {
		for _, pid := range h.children() {
			if killed[pid] {
				continue
			}
			// Between none and twelve milliseconds: from right after the
			// fork to after READY.
			spin(time.Duration(rand.IntN(12000)) * time.Microsecond)
			if unix.Kill(pid, unix.SIGTERM) == nil {
				killed[pid] = true
			}
		}
	}
	h.waitLogCount(`background worker "kind" \(PID \d+\) (exited|was terminated)`, rounds)
	h.stop()
	ends := h.count(`background worker "kind" \(PID \d+\) (exited|was terminated)`)
	clean := h.count(`exited with exit code 1$`)
	early := h.count(`was terminated by signal 15: Terminated$`)
	if clean+early != ends {
		t.Errorf("of %d ends, %d were exit code 1 and %d terminations before the start", ends, clean, early)
	}
	t.Logf("%d ends: %d with exit code 1, %d before the handlers", ends, clean, early)
}

// spin passes time without giving up the processor.
func spin(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}
