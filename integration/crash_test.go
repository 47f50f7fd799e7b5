//go:build linux

package integration

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

const reinitializing = `LOG:  all server processes terminated; reinitializing$`

// openFiles counts the descriptors of a process.
func (h *testHost) openFiles() int {
	h.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", h.pid()))
	if err != nil {
		h.t.Fatal(err)
	}
	return len(entries)
}

// SPEC §7: a crash reaches all, who come back with new shared memory, whatever
// their restart time; those that never restart do not.
func TestACrashCycleBeginsAnew(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("crash_scope=cluster"), withWorkers(
		plugins.BackgroundWorker{Name: "never", FunctionName: "try_lock", RestartTime: plugins.NeverRestart},
		plugins.BackgroundWorker{Name: "slow", FunctionName: "try_lock", RestartTime: 3600},
		plugins.BackgroundWorker{Name: "victim", FunctionName: "wait", RestartTime: 3600},
	))
	h.waitLog(`LOG:  never has had the slot lock`)
	const cycles = 5
	before := 0
	for i := range cycles {
		h.waitLogCount(`LOG:  victim waits$`, i+1)
		h.waitLogCount(`LOG:  slow has had the slot lock`, i+1)
		if i == 1 {
			before = h.openFiles()
		}
		if err := unix.Kill(h.workerPid("victim"), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		h.waitLogCount(`LOG:  background worker "victim" \(PID \d+\) was terminated by signal 9: Killed$`, i+1)
		h.waitLogCount(`LOG:  terminating any other active server processes$`, i+1)
		h.waitLogCount(reinitializing, i+1)
	}
	h.waitLogCount(`LOG:  victim waits$`, cycles+1)
	incarnations := make(map[string]bool)
	for _, m := range h.waitLogCount(`LOG:  slow has had the slot lock, incarnation (\S+)$`, cycles+1) {
		incarnations[m[1]] = true
	}
	if len(incarnations) != cycles+1 || h.count(`LOG:  never has had`) != 1 {
		t.Errorf("%d incarnations, the worker that never restarts ran %d times", len(incarnations), h.count(`LOG:  never has had`))
	}
	h.eventually("no more descriptors to be open than after a cycle", func() bool { return h.openFiles() <= before })
	h.stop()
}

// SPEC §7: crash_scope, by real deaths with and without a lock.
func TestCrashScopes(t *testing.T) {
	const cycle, alone = true, false
	for scope, tt := range map[string]struct{ kill, killLocked, exitLocked bool }{
		"auto":    {alone, cycle, cycle},
		"cluster": {cycle, cycle, cycle},
		"worker":  {alone, alone, alone},
	} {
		for name, how := range map[string]struct {
			victim plugins.BackgroundWorker
			want   bool
		}{
			"killed":             {plugins.BackgroundWorker{FunctionName: "wait"}, tt.kill},
			"killed with a lock": {plugins.BackgroundWorker{FunctionName: "hold_lock"}, tt.killLocked},
			"exit 1 with a lock": {plugins.BackgroundWorker{FunctionName: "hold_lock", MainArg: 1}, tt.exitLocked},
		} {
			t.Run(scope+"/"+name, func(t *testing.T) {
				t.Parallel()
				testCrash(t, scope, how.victim, how.want)
			})
		}
	}
}

func testCrash(t *testing.T, scope string, victim plugins.BackgroundWorker, cycle bool) {
	victim.Name, victim.RestartTime = "victim", plugins.NeverRestart
	h := startHost(t, withSetting("crash_scope="+scope), withWorkers(
		plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait"}, victim))
	h.waitLog(`LOG:  bystander waits$`)
	if victim.MainArg == 0 {
		h.waitLog(`LOG:  victim waits$`)
		if err := unix.Kill(h.workerPid("victim"), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	h.waitLog(`LOG:  background worker "victim" \(PID \d+\) (exited|was terminated)`)
	h.waitLog(`DEBUG:  unregistering background worker "victim"$`)
	if cycle {
		h.waitLog(reinitializing)
		h.workerPid("bystander") // is there again
	}
	h.stop()
	if h.count(reinitializing) == 0 == cycle {
		t.Errorf("want a crash cycle: %v", cycle)
	}
}

// With scope worker nobody inherits a dead worker's lock.
func TestALockOfADeadWorkerIsFreed(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("crash_scope=worker"), withWorkers(
		plugins.BackgroundWorker{Name: "heir", FunctionName: "try_lock"},
		plugins.BackgroundWorker{Name: "holder", FunctionName: "hold_lock", RestartTime: plugins.NeverRestart}))
	h.waitLog(`LOG:  holder waits$`)
	if err := unix.Kill(h.workerPid("holder"), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.waitLog(`LOG:  heir has had the slot lock`)
	h.stop()
}

// SPEC §7: restart_after_crash = off.
func TestWithoutRestartAfterCrashTheHostEnds(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("crash_scope=cluster"), withSetting("restart_after_crash=off"), waiters())
	h.waitLogCount(`LOG:  w\d waits$`, 3)
	if err := unix.Kill(h.workerPid("w1"), unix.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	h.waitLog(`LOG:  shutting down because "restart_after_crash" is off$`)
	if code := h.awaitExit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
}

// SPEC §7: who does not heed SIGQUIT gets SIGKILL after five seconds.
func TestACrashCycleEndsTheRecalcitrant(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("crash_scope=cluster"), waiters())
	h.waitLogCount(`LOG:  w\d waits$`, 3)
	h.freeze(h.workerPid("w2"))
	if err := unix.Kill(h.workerPid("w1"), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.waitLog(`LOG:  issuing SIGKILL to recalcitrant children$`)
	h.waitLog(reinitializing)
	h.waitLogCount(`LOG:  w\d waits$`, 6)
	h.stop()
}
