//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// noMemory says whether the process has any shared memory, and waits.
func noMemory(ctx context.Context, w *plugins.Worker) error {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	var st unix.Stat_t
	open := unix.Fstat(handshake.FDSegment, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
	_, registered := w.RegisterDynamicBackgroundWorker(plugins.BackgroundWorker{Name: "x", Flags: plugins.ShmemAccess})
	w.Logf(elog.Log, "%s: mapped %v, open %v, registering: %v", w.Entry().Name, strings.Contains(string(maps), "pgexthost"+" (deleted)"), open, registered)
	if err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload); err != nil {
		return err
	}
	for {
		if _, err := w.WaitLatch(ctx, waitEvents, 0, plugins.WaitEvent{}); err != nil {
			return err
		}
		w.ResetLatch()
		w.Logf(elog.Log, "%s has its latch set, reload %v", w.Entry().Name, w.ConfigReloadPending())
	}
}

// withBareWorkers registers workers as they are, with no flag added.
func withBareWorkers(t *testing.T, workers ...plugins.BackgroundWorker) hostOption {
	t.Helper()
	for i := range workers {
		workers[i].LibraryName = "faults"
	}
	text, err := json.Marshal(workers)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *hostConfig) {
		c.settings = append(c.settings, "shared_preload_libraries=faults", "faults.workers="+string(text))
	}
}

// compat_version 12 and 13: a worker without shared memory has none, lives as
// others do, and takes nobody along when it crashes.
func TestAWorkerWithoutSharedMemory(t *testing.T) {
	for _, version := range []string{"12", "13"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			h := startHost(t, withSetting("compat_version="+version), withSetting("crash_scope=cluster"), withBareWorkers(t,
				plugins.BackgroundWorker{Name: "bystander", FunctionName: "no_memory", Flags: plugins.ShmemAccess},
				plugins.BackgroundWorker{Name: "bare", FunctionName: "no_memory", RestartTime: 0},
			))
			h.waitLog(`LOG:  starting pgexthost .* with the background workers of PostgreSQL ` + version + `$`)
			h.waitLog(`LOG:  bystander: mapped true, open true, registering: <nil>$`)
			h.waitLog(`LOG:  bare: mapped false, open false, registering: this background worker has no access to shared memory$`)
			if err := unix.Kill(h.workerPid("bare"), unix.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			h.waitLog(`LOG:  bare has its latch set, reload false$`)
			h.signal(unix.SIGHUP)
			h.waitLog(`LOG:  bare has its latch set, reload true$`)
			if err := unix.Kill(h.workerPid("bare"), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			h.waitLogCount(`LOG:  bare: mapped false`, 2)
			h.signal(unix.SIGINT)
			if code := h.awaitExit(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			h.waitLog(`FATAL:  terminating background worker "bare" due to administrator command$`)
			if h.count(reinitializing) != 0 {
				t.Error("the crash reached others")
			}
		})
	}
}

func TestWhatTheVersionsRefuse(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 96)
	workers := []plugins.BackgroundWorker{
		{Name: "bare"}, {Name: "bare, with a database", Flags: plugins.BackendDatabaseConnection, StartTime: plugins.StartAtConsistentState},
		{Name: "long", Flags: plugins.ShmemAccess},
	}
	for i := range workers {
		workers[i].FunctionName = "wait"
	}
	for version, says := range map[string][]string{
		"18": {`LOG:  background worker "bare": background workers without shared memory access are not supported$`,
			`LOG:  background worker "bare, with a database": background workers without shared memory access are not supported$`},
		"13": {`LOG:  background worker "bare, with a database": must attach to shared memory in order to request a database connection$`,
			`LOG:  background worker "long": library name is too long$`},
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			own := append([]plugins.BackgroundWorker(nil), workers...)
			option := withBareWorkers(t, own...)
			own[2].LibraryName = long
			text, err := json.Marshal(own)
			if err != nil {
				t.Fatal(err)
			}
			h := startHost(t, option, withSetting("faults.workers="+string(text)), withSetting("compat_version="+version))
			for _, line := range says {
				h.waitLog(line)
			}
			h.waitLog(`LOG:  extension host is ready$`)
			h.stop()
		})
	}
}
