//go:build linux

package integration

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// SPEC §9: without worker_stop_timeout a stopped worker holds up a smart and a
// fast shutdown, as in PostgreSQL; once it goes on it ends in good order. The
// other modes, and the time-out, have their tests beside those of the shutdown.
func TestAStoppedWorkerHoldsUpAShutdownUntilItGoesOn(t *testing.T) {
	for mode, sig := range map[string]unix.Signal{"smart": unix.SIGTERM, "fast": unix.SIGINT} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := startHost(t, withWorkers(
				plugins.BackgroundWorker{Name: "stopped", FunctionName: "wait"}, plugins.BackgroundWorker{Name: "good", FunctionName: "wait"}))
			h.waitLogCount(`LOG:  (stopped|good) waits$`, 2)
			pid := h.workerPid("stopped")
			h.freeze(pid)
			h.signal(sig)
			h.waitLog(fmt.Sprintf(`LOG:  received %s shutdown request$`, mode))
			h.waitLog(`LOG:  background worker "good" \(PID \d+\) exited with exit code 1$`)
			h.waitLog(fmt.Sprintf(`LOG:  still waiting for background worker "stopped" \(PID %d\) to stop$`, pid))
			kill(t, pid, unix.SIGCONT)
			if code := h.awaitExit(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			h.waitLog(`FATAL:  terminating background worker "stopped" due to administrator command$`)
			if n := h.count(`SIGKILL`); n != 0 {
				t.Error("somebody was killed")
			}
		})
	}
}

// An auxiliary process has nothing to finish, so nobody waits for one for long.
func TestAStoppedControlServerIsKilledInAShutdown(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.awaitControlServer()
	pids, err := childrenOf(h.pid())
	if err != nil || len(pids) != 1 {
		t.Fatalf("the children are %v, %v", pids, err)
	}
	pid := pids[0]
	h.freeze(pid)
	h.signal(unix.SIGINT)
	h.waitLog(`LOG:  issuing SIGKILL to recalcitrant children$`)
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A host that is stopped, as by a suspended machine, finds all its timers
// overdue at once, and all that happened meanwhile. It does each thing once.
func TestAHostThatWasStoppedCatchesUpOnce(t *testing.T) {
	t.Parallel()
	var workers []plugins.BackgroundWorker
	const each = 5
	for i := range each {
		workers = append(workers,
			plugins.BackgroundWorker{Name: fmt.Sprint("before ", i), FunctionName: "wait", RestartTime: 2},
			plugins.BackgroundWorker{Name: fmt.Sprint("meanwhile ", i), FunctionName: "wait", RestartTime: 1})
	}
	h := startHost(t, withSetting(fmt.Sprint("max_worker_processes=", 2*each)), withWorkers(workers...))
	h.waitLogCount(`LOG:  (before|meanwhile) \d waits$`, 2*each)
	pids := make(map[string]int)
	for _, w := range workers {
		pids[w.Name] = h.workerPid(w.Name)
	}
	for i := range each {
		kill(t, pids[fmt.Sprint("before ", i)], unix.SIGKILL)
	}
	h.waitLogCount(`LOG:  background worker "before \d" \(PID \d+\) was terminated by signal 9: Killed$`, each)
	h.freeze(h.pid())
	for i := range each {
		kill(t, pids[fmt.Sprint("meanwhile ", i)], unix.SIGKILL)
	}
	h.signal(unix.SIGHUP)
	<-time.After(4 * time.Second) // it is time itself that has to pass
	if n := h.count(`LOG:  before \d waits$`); n != each {
		t.Fatalf("a stopped host has started %d workers", n-each)
	}
	h.signal(unix.SIGCONT)
	h.waitLogCount(`LOG:  (before|meanwhile) \d waits$`, 4*each)
	h.waitLog(`LOG:  received SIGHUP`)
	h.stop()
	if n := h.count(`starting background worker process`); n != 4*each {
		t.Errorf("%d starts of %d workers that were to start twice", n, 2*each)
	}
}
