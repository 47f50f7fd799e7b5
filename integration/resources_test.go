//go:build linux

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// fromProgram starts the host from another file than the test's own.
func fromProgram(path string) hostOption { return func(c *hostConfig) { c.program = path } }

// An upgrade replaces or removes the program of a host that runs. Its children
// are started from what it was itself started from.
func TestTheProgramMayGoWhileTheHostRuns(t *testing.T) {
	t.Parallel()
	program := filepath.Join(shortTempDir(t), "program")
	copyFile(t, os.Args[0], program)
	h := startHost(t, fromProgram(program), withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
	h.waitLog(`LOG:  w waits$`)
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	kill := func() {
		t.Helper()
		if err := unix.Kill(h.workerPid("w"), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	kill()
	h.waitLogCount(`LOG:  w waits$`, 2)
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	kill()
	h.waitLogCount(`LOG:  w waits$`, 3)
	h.stop()
}

// copyFile copies a program. It is not this process that writes the copy: what
// it starts meanwhile could have inherited the descriptor for a moment, and a
// file that is open for writing can't be executed.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// SPEC §4: a want of descriptors is transient. The worker that it hits is not
// given up, even if it never restarts, and starts once there are some.
func TestAWantOfDescriptorsIsOvercome(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(
		plugins.BackgroundWorker{Name: "launcher", FunctionName: "wait"},
		plugins.BackgroundWorker{Name: "w", FunctionName: "wait", RestartTime: 0},
	))
	h.waitLog(`LOG:  w waits$`)
	h.waitLog(`LOG:  launcher waits$`)
	var usual unix.Rlimit
	if err := unix.Prlimit(h.pid(), unix.RLIMIT_NOFILE, nil, &usual); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 3, Max: usual.Max}
	if err := unix.Prlimit(h.pid(), unix.RLIMIT_NOFILE, &none, nil); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(h.workerPid("w"), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.waitLog(`LOG:  could not fork background worker process: .*[Tt]oo many open files`)
	if n := h.count(`unregistering background worker "w"`); n != 0 {
		t.Error("the worker was given up")
	}
	if err := unix.Prlimit(h.pid(), unix.RLIMIT_NOFILE, &usual, nil); err != nil {
		t.Fatal(err)
	}
	h.waitLogCount(`LOG:  w waits$`, 2)
	h.stop()
}
