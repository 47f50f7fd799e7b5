//go:build linux

package integration

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// SPEC §9: worker_stop_timeout ends what is deaf to SIGTERM, naming it.
func TestWorkerStopTimeoutKillsAndNames(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("worker_stop_timeout=1"), withWorkers(
		plugins.BackgroundWorker{Name: "stopped", FunctionName: "wait"}, plugins.BackgroundWorker{Name: "good", FunctionName: "wait"}))
	h.waitLogCount(`LOG:  (stopped|good) waits$`, 2)
	pid := h.workerPid("stopped")
	h.freeze(pid)
	h.signal(unix.SIGTERM)
	h.waitLog(fmt.Sprintf(`LOG:  issuing SIGKILL to background worker "stopped" \(PID %d\)$`, pid))
	h.waitLog(`DETAIL:  It has not stopped within "worker_stop_timeout" \(1s\)\.$`)
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if h.count(`issuing SIGKILL`) != 1 {
		t.Error("the other worker was killed, too")
	}
}

// SPEC §9: without one, PostgreSQL's patience, but not its silence. A smart
// shutdown still lets a reload bring the time-out.
func TestAStopSaysWhomItWaitsForAndAReloadCanEndIt(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "stopped", FunctionName: "wait"}))
	h.waitLog(`LOG:  stopped waits$`)
	pid := h.workerPid("stopped")
	h.freeze(pid)
	h.signal(unix.SIGTERM)
	h.waitLog(fmt.Sprintf(`LOG:  still waiting for background worker "stopped" \(PID %d\) to stop$`, pid))
	appendTo(t, h.dir, "worker_stop_timeout = 1s\n")
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  parameter "worker_stop_timeout" changed to "1s"$`)
	h.waitLog(`LOG:  issuing SIGKILL to background worker "stopped"`)
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestTheClusterNameIsInProcessTitles(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("cluster_name=east 1"), withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
	h.waitLog(`LOG:  w waits$`)
	if title := processTitle(h.children()[0]); title != "pgexthost: east 1: w" {
		t.Errorf("got %q", title)
	}
	h.stop()

	for value, detail := range map[string]string{
		strings.Repeat("x", 64): `DETAIL:  The name is longer than 63 bytes\.$`,
		"caf\u00e9":             `DETAIL:  The name must consist of printable ASCII characters\.$`,
	} {
		h := startHost(t, withSetting("cluster_name="+value))
		if code := h.awaitExit(); code != 1 {
			t.Errorf("%q: exit code %d", value, code)
		}
		h.waitLog(`FATAL:  invalid value for parameter "cluster_name": "` + value + `"$`)
		h.waitLog(detail)
	}
}

// post_auth_delay holds a worker up, with its signals held back, and neither
// the host nor an immediate shutdown.
func TestPostAuthDelayHoldsAWorkerUp(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("post_auth_delay=30min"), withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
	h.waitLog(`LOG:  extension host is ready$`)
	h.eventually("the worker", func() bool { return len(h.children()) == 1 })
	h.signal(unix.SIGTERM)
	h.waitLog(`LOG:  received smart shutdown request$`)
	h.signal(unix.SIGQUIT)
	if code := h.awaitExit(); code != 0 || h.count(`w waits`) != 0 {
		t.Errorf("exit code %d, worker ran: %v", code, h.count(`w waits`) != 0)
	}
}
