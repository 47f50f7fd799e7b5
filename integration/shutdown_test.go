//go:build linux

package integration

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// waiters are three workers that wait for a signal to end.
func waiters() hostOption {
	return withWorkers(
		plugins.BackgroundWorker{Name: "w1", FunctionName: "wait"},
		plugins.BackgroundWorker{Name: "w2", FunctionName: "wait"},
		plugins.BackgroundWorker{Name: "w3", FunctionName: "grandchild"},
	)
}

func TestFastShutdownTerminatesTheWorkers(t *testing.T) {
	t.Parallel()
	h := startHost(t, waiters())
	h.waitLogCount(`LOG:  w\d waits$`, 3)
	h.stop()
	for _, line := range []string{
		`LOG:  received fast shutdown request$`,
		`LOG:  aborting any active transactions$`,
		`FATAL:  terminating background worker "w1" due to administrator command$`,
		`LOG:  background worker "w1" \(PID \d+\) exited with exit code 1$`,
		`LOG:  background worker "w2" \(PID \d+\) exited with exit code 1$`,
		`LOG:  extension host is shut down$`,
	} {
		h.waitLog(line)
	}
	h.expectGrandchildGone()
}

func TestImmediateShutdownLeavesNobody(t *testing.T) {
	t.Parallel()
	h := startHost(t, waiters())
	h.waitLogCount(`LOG:  w\d waits$`, 3)
	h.signal(unix.SIGQUIT)
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	h.waitLog(`LOG:  received immediate shutdown request$`)
	if n := h.count(`exited with exit code 2`); n != 0 {
		t.Errorf("%d exits by SIGQUIT were logged as crashes", n)
	}
	h.expectGrandchildGone()
}

// expectGrandchildGone checks that the process group of a worker got the
// worker's signals.
func (h *testHost) expectGrandchildGone() {
	h.t.Helper()
	pid := h.grandchild()
	h.eventually("the grandchild to be gone", func() bool { return isGone(pid) })
}

// grandchild returns the pid of the process that w3 has started.
func (h *testHost) grandchild() int {
	h.t.Helper()
	pid, err := strconv.Atoi(h.waitLog(`LOG:  w3 has started process (\d+)$`)[1])
	if err != nil {
		h.t.Fatal(err)
	}
	return pid
}

// Nobody else would end it, not even the end of the host.
func TestAKilledWorkerTakesAlongWhatItHasStarted(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "w3", FunctionName: "grandchild", RestartTime: plugins.NeverRestart}))
	h.waitLog(`LOG:  w3 waits$`)
	if err := unix.Kill(h.workerPid("w3"), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.expectGrandchildGone()
	h.stop()
}

func TestAWorkerThatEndsInOrderLeavesItsProcessesAlone(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "w3", FunctionName: "leave_grandchild"}), withSetting("log_min_messages=debug1"))
	h.waitLog(`DEBUG:  background worker "w3" \(PID \d+\) exited with exit code 0$`)
	if pid := h.grandchild(); isGone(pid) {
		t.Error("it is gone")
	} else if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	h.stop()
}

func TestADeafWorkerIsKilledInAnImmediateShutdown(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "stopped", FunctionName: "wait"}))
	h.waitLog(`LOG:  stopped waits$`)
	pid := h.children()[0]
	h.freeze(pid)
	h.signal(unix.SIGQUIT)
	h.waitLog(`LOG:  issuing SIGKILL to recalcitrant children$`)
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestAMoreImmediateShutdownOverridesAMilderOne(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "deaf", FunctionName: "deaf"}))
	h.waitLog(`LOG:  deaf is deaf$`)
	h.signal(unix.SIGTERM)
	h.waitLog(`LOG:  received smart shutdown request$`)
	h.signal(unix.SIGINT)
	h.waitLog(`LOG:  received fast shutdown request$`)
	h.signal(unix.SIGTERM) // milder: nothing
	h.signal(unix.SIGQUIT)
	h.waitLog(`LOG:  received immediate shutdown request$`)
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := h.count(`received smart shutdown request`); n != 1 {
		t.Errorf("%d smart shutdowns", n)
	}
}

// SPEC §10: after five seconds the runtime ends a worker whose main is deaf.
func TestADeafMainIsEndedByTheRuntime(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "deaf", FunctionName: "deaf"}))
	h.waitLog(`LOG:  deaf is deaf$`)
	h.stop()
	h.waitLog(`FATAL:  terminating background worker "deaf" due to administrator command$`)
	h.waitLog(`LOG:  background worker "deaf" \(PID \d+\) exited with exit code 1$`)
}

func TestChildrenAreGoneWithinASecondOfAKilledHost(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(
		plugins.BackgroundWorker{Name: "w1", FunctionName: "wait"},
		plugins.BackgroundWorker{Name: "w2", FunctionName: "deaf"},
		plugins.BackgroundWorker{Name: "w3", FunctionName: "never_unblocks"},
	), withSetting("server_conninfo=host=/nonexistent"))
	h.waitLogCount(`LOG:  w\d (waits|is deaf)$`, 3)
	pids := h.children()
	if len(pids) < 3 {
		t.Fatalf("the host has children %v", pids)
	}
	start := time.Now()
	h.signal(unix.SIGKILL)
	<-h.exited
	for _, pid := range pids {
		h.eventually(fmt.Sprintf("child %d to be gone", pid), func() bool { return isGone(pid) })
	}
	// Not a measurement: the promise itself, with room for a busy machine.
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// What a worker makes of the host's death is nobody's business any more.
func TestWorkersSayNothingWhenTheHostIsKilled(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(
		plugins.BackgroundWorker{Name: "w1", FunctionName: "wait"},
		plugins.BackgroundWorker{Name: "w2", FunctionName: "context_error"},
	))
	h.waitLogCount(`LOG:  w\d waits$`, 2)
	h.signal(unix.SIGKILL)
	h.awaitLogEnd()
	if n := h.count(`(ERROR|FATAL|PANIC):`); n != 0 {
		t.Errorf("%d lines about it", n)
	}
}

func TestTheEndOfTheContextIsAFastShutdown(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h := startHost(t, waiters(), whileOpen(r))
	h.waitLogCount(`LOG:  w\d waits$`, 3)
	_ = w.Close()
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := h.count(`LOG:  received fast shutdown request$`); n != 1 {
		t.Errorf("%d fast shutdowns", n)
	}
}

func TestAFloodOfOtherSignalsDoesNotHideAShutdown(t *testing.T) {
	t.Parallel()
	h := startHost(t, waiters())
	h.waitLogCount(`LOG:  w\d waits$`, 3)
	flooding, stop, stopped := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE} {
				_ = h.cmd.Process.Signal(sig)
			}
			if i == 100 {
				close(flooding)
			}
		}
	}()
	<-flooding
	h.waitLog(`LOG:  received SIGHUP, reloading configuration files$`)
	if n := h.count(`shutdown request$`); n != 0 {
		t.Error("the flood alone is a shutdown")
	}
	h.signal(unix.SIGINT)
	h.waitLog(`LOG:  received fast shutdown request$`)
	close(stop)
	<-stopped
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestManyHostsDieAtRandomMomentsWithoutOrphans(t *testing.T) {
	t.Parallel()
	for i := range 20 {
		h := startHost(t, waiters())
		spin(time.Duration(i) * 2 * time.Millisecond)
		h.signal(unix.SIGKILL)
		<-h.exited
		h.awaitLogEnd()
	}
}
