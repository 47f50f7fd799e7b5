//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

func TestProcessTitlesAreTheWorkersNames(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "the name", Type: "the type", FunctionName: "wait"}))
	h.waitLog(`LOG:  the name waits$`)
	if title := processTitle(h.children()[0]); title != "pgexthost: the name" {
		t.Errorf("got %q", title)
	}
	h.stop()
}

// SPEC §10: TERM is held back while signals are blocked, be it from the start or
// since BlockSignals, and acted upon once they are not.
func TestBlockedSignalsHoldSigtermBack(t *testing.T) {
	for name, function := range map[string]string{"manual": "manual_signals", "blocker": "block_signals"} {
		t.Run(function, func(t *testing.T) {
			t.Parallel()
			gate := filepath.Join(t.TempDir(), "gate")
			w := plugins.BackgroundWorker{Name: name, FunctionName: function}
			copy(w.Extra[:], gate)
			h := startHost(t, withWorkers(w))
			h.waitLog(`LOG:  ` + name + ` has signals blocked$`)
			// Once from outside, as a signal, and once by the postmaster.
			if err := unix.Kill(h.children()[0], unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
			h.signal(unix.SIGINT)
			h.waitLog(`LOG:  received fast shutdown request$`)
			write(t, gate, "")
			if code := h.awaitExit(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if h.count(`hit by a blocked signal`) != 0 || h.count(`LOG:  `+name+` unblocks signals$`) != 1 {
				t.Error("the signal was not held back")
			}
			h.waitLog(`FATAL:  terminating background worker "` + name + `" due to administrator command$`)
		})
	}
}

func TestThePostmasterDeathSignalIsNotBelieved(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "s", FunctionName: "sigpwr", RestartTime: plugins.NeverRestart}))
	h.waitLog(`LOG:  s lives on$`)
	h.stop()
}

func TestAWorkerWithItsOwnSigtermHandlerChoosesItsExit(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(
		plugins.BackgroundWorker{Name: "good", FunctionName: "own_sigterm", MainArg: 0},
		plugins.BackgroundWorker{Name: "bad", FunctionName: "own_sigterm", MainArg: 1},
	))
	h.waitLogCount(`LOG:  (good|bad) waits$`, 2)
	h.stop()
	h.waitLog(`DEBUG:  background worker "good" \(PID \d+\) exited with exit code 0$`)
	h.waitLog(`LOG:  background worker "bad" \(PID \d+\) exited with exit code 1$`)
	h.waitLog(`ERROR:  shutting down as I like`)
	if n := h.count(`FATAL`); n != 0 {
		t.Errorf("%d FATAL lines", n)
	}
}

func TestSigusr1SetsTheLatchAndOthersAreIgnored(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "l", FunctionName: "latch"}))
	h.waitLog(`LOG:  l waits$`)
	pid := h.children()[0]
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGUSR2, unix.SIGPIPE} {
		if err := unix.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		if err := unix.Kill(pid, unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		h.waitLogCount(`LOG:  l has its latch set$`, i+1)
	}
	h.stop()
	if n := h.count(`LOG:  l has its latch set$`); n != 5 {
		t.Errorf("the latch was set %d times", n)
	}
}

func TestSigquitEndsAWorkerAtOnceWithExitCode2(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "q", FunctionName: "never_unblocks"}))
	h.waitLog(`LOG:  q waits$`)
	if err := unix.Kill(h.children()[0], unix.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	h.waitLog(`LOG:  background worker "q" \(PID \d+\) exited with exit code 2$`)
	h.signal(unix.SIGQUIT)
	h.awaitExit()
}

func TestSighupGivesWorkersNewSettings(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t, "")
	h := startHost(t, inDir(dir), withWorkers(plugins.BackgroundWorker{Name: "h", FunctionName: "hup"}))
	h.waitLog(`LOG:  h: faults.count is 1$`)
	appendTo(t, dir, "faults.count = 7\n")
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  received SIGHUP, reloading configuration files$`)
	h.waitLog(`LOG:  parameter "faults.count" changed to "7"$`)
	h.waitLog(`LOG:  h: faults.count is 7$`)
	appendTo(t, dir, "faults.count = 11\n")
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  11 is outside the valid range for parameter "faults.count" \(1 \.\. 10\)$`)
	h.waitLog(`LOG:  configuration file ".*" contains errors; unaffected changes were applied$`)
	h.waitLogCount(`LOG:  h: faults.count is 7$`, 2)
	h.stop()
}

// SIGHUP would end a process that knows nothing of it.
func TestSighupIsNotForGrandchildren(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(
		plugins.BackgroundWorker{Name: "w3", FunctionName: "grandchild"},
		plugins.BackgroundWorker{Name: "h", FunctionName: "hup"},
	))
	h.waitLog(`LOG:  w3 waits$`)
	h.waitLog(`LOG:  h: faults.count is 1$`)
	pid := h.grandchild()
	h.freeze(pid) // so that a signal stays pending
	for i := range 2 {
		h.signal(unix.SIGHUP)
		h.waitLogCount(`LOG:  h: faults.count is 1$`, i+2)
	}
	if h.processSignals(pid, "ShdPnd")>>(unix.SIGHUP-1)&1 != 0 {
		t.Error("the grandchild was sent SIGHUP")
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil { // frozen, it would outlive the test
		t.Error(err)
	}
	h.stop()
}

func TestSighupChangesWhatTheHostLogs(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t, "")
	h := startHost(t, inDir(dir), withFileSettingsOnly(), withWorkers(plugins.BackgroundWorker{Name: "victim", FunctionName: "wait"}))
	h.waitLog(`LOG:  victim waits$`)
	if n := h.count(`DEBUG:`); n != 0 {
		t.Errorf("%d debugging lines at the start", n)
	}
	appendTo(t, dir, "log_min_messages = debug1\n")
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  parameter "log_min_messages" changed to "debug1"$`)
	if err := unix.Kill(h.children()[0], unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.waitLog(`DEBUG:  starting background worker process "victim"$`)
	h.stop()
}

func appendTo(t *testing.T, dir, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "pgexthost.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
