//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// hog takes all the memory it can get, once its latch is set.
func hog(ctx context.Context, w *plugins.Worker) error {
	w.Logf(elog.Log, "%s waits, %s", w.Entry().Name, os.Getenv("GOMEMLIMIT"))
	if _, err := w.WaitLatch(ctx, waitEvents, 0, plugins.WaitEvent{}); err != nil {
		return err
	}
	var all [][]byte
	for len(all) < 4096 { // 4 GB: there is no limit, then
		chunk := make([]byte, 1<<20)
		for i := 0; i < len(chunk); i += 4096 {
			chunk[i] = 1
		}
		all = append(all, chunk)
	}
	return errors.New("there was room")
}

// memoryRoom is what the worker gets beyond what it has.
const memoryRoom = 64 << 20

// A worker that runs out of memory crashes alone, whoever sets the limit.
func TestAWorkerThatRunsOutOfMemoryCrashesAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		limit func(t *testing.T, pid int)
		end   string
	}{
		"RLIMIT_AS": {limitAddressSpace, `exited with exit code 2`},
		"memory.max": {func(t *testing.T, pid int) {
			group := makeGroup(t, "memory")
			file := filepath.Join(group, "memory.max")
			if !exists(file) {
				file = filepath.Join(group, "memory.limit_in_bytes")
			}
			for path, text := range map[string]int{file: memoryRoom, filepath.Join(group, "cgroup.procs"): pid} {
				if err := os.WriteFile(path, []byte(fmt.Sprint(text)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}, `was terminated by signal 9: Killed`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHost(t, withEnvironment("GOMEMLIMIT=100MiB"), withWorkers(
				plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait"},
				plugins.BackgroundWorker{Name: "hog", FunctionName: "hog", RestartTime: 1},
			))
			h.waitLog(`LOG:  bystander waits$`)
			h.waitLog(`LOG:  hog waits, 100MiB$`) // a limit of the runtime's own passes
			bystander, victim := h.workerPid("bystander"), h.workerPid("hog")
			tt.limit(t, victim)
			kill(t, victim, unix.SIGUSR1)
			h.waitLog(fmt.Sprintf(`LOG:  background worker "hog" \(PID %d\) %s$`, victim, tt.end))
			h.waitLogCount(`LOG:  hog waits, 100MiB$`, 2)
			if h.workerPid("bystander") != bystander || h.count(reinitializing) != 0 {
				t.Error("others were ended with it")
			}
			h.stop()
		})
	}
}

func limitAddressSpace(t *testing.T, pid int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nVmSize:")
	var kilobytes uint64
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		t.Fatal(err)
	}
	var now unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_AS, nil, &now); err != nil {
		t.Fatal(err)
	}
	now.Cur = min(kilobytes<<10+memoryRoom, now.Max)
	if err := unix.Prlimit(pid, unix.RLIMIT_AS, &now, nil); err != nil {
		t.Fatal(err)
	}
}

// A limit that keeps every child from its start leaves the host alive, and its
// workers come back with the memory. What has died before it was a child at all
// has not crashed: even with crash_scope = cluster nobody else suffers.
func TestWorkersComeBackWithTheMemory(t *testing.T) {
	if raceDetector {
		t.Skip("with the race detector the host itself may not live without new memory")
	}
	t.Parallel()
	h := startHost(t, withSetting("crash_scope=cluster"), withWorkers(
		plugins.BackgroundWorker{Name: "w", FunctionName: "wait", RestartTime: 1}, plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait"}))
	h.waitLogCount(`LOG:  (w|bystander) waits$`, 2)
	h.awaitControlServer()
	h.limit(unix.RLIMIT_AS, 200<<20) // less than a Go program reserves
	kill(t, h.workerPid("w"), unix.SIGTERM)
	h.waitLogCount(`LOG:  background worker "w" \(PID \d+\) could not be started: handshake failed: it exited with exit code 2$`, 3)
	h.limit(unix.RLIMIT_AS, unlimited)
	h.waitLogCount(`LOG:  w waits$`, 2)
	h.stop()
	if n := h.count(`terminating any other active server processes`); n != 0 {
		t.Errorf("%d crash cycles", n)
	}
}
