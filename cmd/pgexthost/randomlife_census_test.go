package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// walkMark is the environment variable by which the processes of a walk are
// known, whatever else becomes of them. Workers, and what they start, inherit
// variables that begin with PG.
const walkMark = "PGEXTHOST_TEST_WALK"

// proc is a process as /proc shows it.
type proc struct {
	pid, parent int
	frozen      bool
	line        string // of its arguments, each with a NUL behind it
	args        []string
}

func (p proc) String() string {
	state := ""
	if p.frozen {
		state = " (stopped)"
	}
	return fmt.Sprintf("%d, child of %d%s: %q", p.pid, p.parent, state, p.args)
}

// title is what a child of a host calls itself.
func (p proc) title() string {
	title, _ := strings.CutPrefix(p.args[0], "pgexthost: ")
	return title
}

// signal sends a signal, if it is still that process.
func (p proc) signal(sig unix.Signal) {
	fd, err := openPidfd(p.pid)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid)); string(line) == p.line {
		_ = signalPidfd(fd, sig)
	}
}

// census is who lives for a data directory.
type census struct {
	hosts         []proc
	children      []proc // workers and auxiliary processes
	grandchildren []proc // what workers have started
}

func (c census) String() string {
	return fmt.Sprintf("hosts %v\nchildren %v\ngrandchildren %v", c.hosts, c.children, c.grandchildren)
}

// takeCensus looks for all processes of a walk, save for commands.
func takeCensus(mark string) census {
	var c census
	for _, p := range procsWith(walkMark + "=" + mark) {
		switch {
		case strings.HasPrefix(p.args[0], "pgexthost: "):
			c.children = append(c.children, p)
		case p.args[0] == "sleep":
			c.grandchildren = append(c.grandchildren, p)
		case len(p.args) > 1 && p.args[1] == "run":
			c.hosts = append(c.hosts, p)
		}
	}
	// What a host has forked looks like the host itself until it has called exec.
	all := slices.Clone(c.hosts)
	c.hosts = slices.DeleteFunc(c.hosts, func(p proc) bool {
		return slices.ContainsFunc(all, func(other proc) bool { return other.pid == p.parent })
	})
	return c
}

// procsWith returns the processes that have a variable in their environment.
// Those that have ended have none.
func procsWith(variable string) []proc {
	entries, _ := filepath.Glob("/proc/[1-9]*")
	var found []proc
	for _, entry := range entries {
		env, _ := os.ReadFile(entry + "/environ")
		if !slices.ContainsFunc(bytes.Split(env, []byte{0}), func(v []byte) bool { return string(v) == variable }) {
			continue
		}
		line, _ := os.ReadFile(entry + "/cmdline")
		stat, _ := os.ReadFile(entry + "/stat")
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(line) == 0 || len(fields) < 2 {
			continue // it has ended meanwhile
		}
		p := proc{frozen: fields[0] == "T", line: string(line), args: strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")}
		p.pid, _ = strconv.Atoi(filepath.Base(entry))
		p.parent, _ = strconv.Atoi(fields[1])
		found = append(found, p)
	}
	return found
}

// guardCommand makes the program a guard.
const guardCommand = "guard"

// guard waits for the end of the test, however that comes, and then ends what
// is left of it: nothing else would end a stopped process.
func guard() {
	test, err := strconv.Atoi(os.Getenv(asProgram))
	if err != nil {
		os.Exit(1)
	}
	if fd, err := openPidfd(test); err == nil {
		for !awaitEnd(fd, limit) {
		}
	}
	for left := true; left; {
		left = false
		for _, p := range procsWith(fmt.Sprintf("%s=%d", asProgram, test)) {
			if p.pid != os.Getpid() {
				left = unix.Kill(p.pid, unix.SIGKILL) == nil || left
			}
		}
	}
	os.Exit(0)
}

// startGuard has the processes of this test ended with it.
func startGuard(t *testing.T) {
	t.Helper()
	cmd := program(guardCommand)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}
