package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect/servermonitor"
	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/plugins"
)

// limit is how long anything may take.
const limit = 30 * time.Second

// stuckLibrary is a library that never finishes its Init.
const stuckLibrary = "stuck"

// ownHost is the name of a program that is not pgexthost, but an author's own.
const ownHost = "ownhost"

// beProgram makes the test binary a program that ends with the test, even if
// that is killed.
func beProgram() {
	plugins.Register(plugins.Library{Name: stuckLibrary, Init: func(*plugins.Init) error { select {} }})
	plugins.Register(walkLibrary())
	if len(os.Args) > 1 && os.Args[1] == guardCommand {
		guard()
	}
	if pid, err := strconv.Atoi(os.Getenv(asProgram)); err == nil && !plugins.IsChild() {
		go dieWith(pid)
	}
	if filepath.Base(os.Args[0]) != ownHost {
		main()
	}
	servermonitor.Register()
	if plugins.IsChild() {
		plugins.RunChild()
	}
	os.Exit(host.Run(context.Background(), host.Options{DataDir: os.Args[1]}))
}

func dieWith(pid int) {
	if fd, err := openPidfd(pid); err == nil {
		for !awaitEnd(fd, time.Hour) {
		}
	}
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
}

// awaitEnd waits until the process has ended, and reports whether it has.
func awaitEnd(pidfd int, timeout time.Duration) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(timeout.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

// hasEnded reports whether a process has ended, whether or not somebody has
// reaped it.
func hasEnded(pid int) bool {
	fd, err := openPidfd(pid)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	return awaitEnd(fd, 0)
}

// endOrphans ends all programs of this test that still run, and returns their
// command lines. Those whose host has just died get the second it takes.
func endOrphans() string {
	var lines strings.Builder
	for pids := programsWith(""); len(pids) > 0; pids = programsWith("") {
		for _, pid := range pids {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			fd, err := openPidfd(pid)
			if err != nil || awaitEnd(fd, 5*time.Second) {
				continue
			}
			fmt.Fprintf(&lines, "  %d %s\n", pid, bytes.ReplaceAll(line, []byte{0}, []byte(" ")))
			_ = signalPidfd(fd, unix.SIGKILL)
			awaitEnd(fd, limit)
		}
	}
	return lines.String()
}

// programsWith returns the programs of this test that run with an argument, or
// all if it is empty.
func programsWith(argument string) []int {
	mark := fmt.Appendf(nil, "%s=%d", asProgram, os.Getpid())
	entries, _ := filepath.Glob("/proc/[1-9]*")
	var pids []int
	for _, entry := range entries {
		env, _ := os.ReadFile(entry + "/environ") // empty for a zombie, and for those of others
		line, _ := os.ReadFile(entry + "/cmdline")
		marked := slices.ContainsFunc(bytes.Split(env, []byte{0}), func(v []byte) bool { return bytes.Equal(v, mark) })
		called := argument == "" || slices.Contains(strings.Split(string(line), "\x00"), argument)
		if pid, err := strconv.Atoi(filepath.Base(entry)); err == nil && pid != os.Getpid() && marked && called {
			pids = append(pids, pid)
		}
	}
	return pids
}

// endHosts ends the hosts that run in a directory when the test is over.
func endHosts(t *testing.T, dir string) {
	t.Helper()
	for _, pid := range programsWith(dir) {
		fd, err := openPidfd(pid)
		if err != nil {
			continue
		}
		_ = signalPidfd(fd, unix.SIGKILL)
		if !awaitEnd(fd, limit) {
			t.Errorf("process %d does not end", pid)
		}
		_ = unix.Close(fd)
	}
}
