//go:build linux

package integration

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/plugins"
)

// limit bounds every wait of these tests. It is generous: it only has to tell
// "late" from "never".
const limit = 90 * time.Second

// testHost is a host in a process of its own, with its log.
type testHost struct {
	t      testing.TB
	dir    string
	cmd    *exec.Cmd
	exited chan struct{}

	patience time.Duration // of waitLog

	mu    sync.Mutex
	lines []string
	news  chan struct{} // closed and replaced when a line arrives or the log ends
	ended bool
}

// hostOption changes how startHost starts a host.
type hostOption func(*hostConfig)

type hostConfig struct {
	settings []string
	conninfo string
	env      []string
	dir      string
	stdin    *os.File
	program  string
	user     *syscall.Credential // nil: that of the test
	workDir  string              // empty: that of the test
	log      *os.File            // nil: one that waitLog sees
}

// withWorkers registers static workers through the library faults.
func withWorkers(workers ...plugins.BackgroundWorker) hostOption {
	return func(c *hostConfig) {
		for i := range workers {
			workers[i].Flags |= plugins.ShmemAccess
			if workers[i].LibraryName == "" {
				workers[i].LibraryName = "faults"
			}
		}
		text, err := json.Marshal(workers)
		if err != nil {
			panic(err)
		}
		c.settings = append(c.settings, "shared_preload_libraries=faults", "faults.workers="+string(text))
	}
}

// withSetting sets a parameter on the command line.
func withSetting(setting string) hostOption {
	return func(c *hostConfig) { c.settings = append(c.settings, setting) }
}

// withServer lets the host reach a server. Without it the host has no monitor.
func withServer(conninfo string) hostOption {
	return func(c *hostConfig) { c.conninfo = conninfo }
}

// withEnvironment adds a variable ("NAME=value") to the host's environment.
func withEnvironment(variable string) hostOption {
	return func(c *hostConfig) { c.env = append(c.env, variable) }
}

// inDir runs the host in a directory that exists already.
func inDir(dir string) hostOption { return func(c *hostConfig) { c.dir = dir } }

// withFileSettingsOnly leaves out what the harness sets on the command line.
func withFileSettingsOnly() hostOption { return func(c *hostConfig) { c.settings = nil } }

// whileOpen ends the context of the host's Run when the pipe's other end is
// closed.
func whileOpen(pipe *os.File) hostOption {
	return func(c *hostConfig) { c.stdin, c.env = pipe, append(c.env, runWhileOpen+"=1") }
}

func newDataDir(t testing.TB, conninfo string) string {
	t.Helper()
	dir := filepath.Join(shortTempDir(t), "host")
	if err := host.Init(dir, conninfo); err != nil {
		t.Fatal(err)
	}
	return dir
}

// shortTempDir is a temporary directory whose path does not hold the name of
// the test: sockets need room.
func shortTempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgx-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// startHost starts a host and arranges that it is gone at the end of the test.
func startHost(t testing.TB, options ...hostOption) *testHost {
	t.Helper()
	c := hostConfig{settings: []string{"log_min_messages=debug1"}, program: os.Args[0]}
	for _, o := range options {
		o(&c)
	}
	if c.dir == "" {
		c.dir = newDataDir(t, c.conninfo)
	}
	text, err := json.Marshal(host.Options{DataDir: c.dir, Settings: c.settings})
	if err != nil {
		t.Fatal(err)
	}
	h := &testHost{t: t, dir: c.dir, exited: make(chan struct{}), news: make(chan struct{}), patience: limit}
	if c.user != nil {
		c.lend(t)
	}
	h.cmd = exec.Command(c.program)
	h.cmd.Dir, h.cmd.SysProcAttr = c.workDir, &syscall.SysProcAttr{Credential: c.user}
	h.cmd.Env = append(os.Environ(), runHost+"="+string(text))
	if c.conninfo == "" {
		h.cmd.Env = append(h.cmd.Env, noMonitor+"=1")
	}
	h.cmd.Env = append(h.cmd.Env, c.env...)
	if c.stdin != nil {
		h.cmd.Stdin = c.stdin
	}
	// The pipe is ours, not exec's: its Wait would wait for every process that
	// holds the other end.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h.cmd.Stderr = w
	if c.log != nil {
		h.cmd.Stderr = c.log
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	go h.readLog(r)
	go func() { _ = h.cmd.Wait(); close(h.exited) }()
	t.Cleanup(h.cleanUp)
	return h
}

func (h *testHost) cleanUp() {
	_ = h.cmd.Process.Kill()
	<-h.exited
	h.awaitLogEnd() // every process of the host's holds the log open
	if h.t.Failed() {
		h.t.Logf("log of the host:\n%s", strings.Join(h.logLines(), "\n"))
	}
}

func (h *testHost) readLog(r io.ReadCloser) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		h.update(func() { h.lines = append(h.lines, lines.Text()) })
	}
	_ = r.Close()
	h.update(func() { h.ended = true })
}

func (h *testHost) update(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
	close(h.news)
	h.news = make(chan struct{})
}

func (h *testHost) logLines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.lines...)
}

func (h *testHost) pid() int { return h.cmd.Process.Pid }

// waitLog waits for a line that matches and returns its submatches.
func (h *testHost) waitLog(pattern string) []string {
	h.t.Helper()
	return h.waitLogCount(pattern, 1)[0]
}

// waitLogCount waits for n lines that match and returns their submatches.
func (h *testHost) waitLogCount(pattern string, n int) [][]string {
	h.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(h.patience)
	for {
		h.mu.Lock()
		var found [][]string
		for _, line := range h.lines {
			if m := re.FindStringSubmatch(line); m != nil {
				found = append(found, m)
			}
		}
		news, ended := h.news, h.ended
		h.mu.Unlock()
		if len(found) >= n {
			return found
		}
		if ended {
			h.t.Fatalf("the log ended with %d of %d lines that match %q", len(found), n, pattern)
		}
		select {
		case <-news:
		case <-deadline:
			h.t.Fatalf("timed out with %d of %d lines that match %q", len(found), n, pattern)
		}
	}
}

// count returns how many lines of the log match by now.
func (h *testHost) count(pattern string) int {
	re := regexp.MustCompile(pattern)
	n := 0
	for _, line := range h.logLines() {
		if re.MatchString(line) {
			n++
		}
	}
	return n
}

// awaitLogEnd waits until every process that could write to the log is gone:
// the host, and each child of it that ever was.
func (h *testHost) awaitLogEnd() {
	h.t.Helper()
	deadline := time.After(limit)
	for {
		h.mu.Lock()
		news, ended := h.news, h.ended
		h.mu.Unlock()
		if ended {
			return
		}
		select {
		case <-news:
		case <-deadline:
			h.t.Errorf("processes of the host are still alive")
			return
		}
	}
}

func (h *testHost) signal(sig unix.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(sig); err != nil {
		h.t.Fatal(err)
	}
}

// awaitExit waits for the host and all of its children to be gone and returns
// the host's exit code.
func (h *testHost) awaitExit() int {
	h.t.Helper()
	select {
	case <-h.exited:
	case <-time.After(limit):
		h.t.Fatal("the host does not exit")
	}
	h.awaitLogEnd()
	return h.cmd.ProcessState.ExitCode()
}

// stop shuts the host down fast and fails the test unless that is clean.
func (h *testHost) stop() {
	h.t.Helper()
	h.signal(unix.SIGINT)
	if code := h.awaitExit(); code != 0 {
		h.t.Errorf("the host exited with code %d", code)
	}
}

// children returns the pids of the host's children, but for the control server,
// which every host has.
func (h *testHost) children() []int {
	h.t.Helper()
	pids, err := childrenOf(h.pid())
	if err != nil {
		h.t.Fatal(err)
	}
	return slices.DeleteFunc(pids, isControlServer)
}

// awaitControlServer waits until the control server can be told from others.
func (h *testHost) awaitControlServer() {
	h.t.Helper()
	h.eventually("the control server", func() bool {
		pids, err := childrenOf(h.pid())
		return err == nil && slices.ContainsFunc(pids, isControlServer)
	})
}

func isControlServer(pid int) bool { return strings.HasSuffix(processTitle(pid), ": control server") }

func childrenOf(pid int) ([]int, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			return nil, err
		}
		for _, field := range strings.Fields(string(text)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids, nil
}

// eventually polls until the condition holds.
func (h *testHost) eventually(what string, condition func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			h.t.Fatalf("timed out waiting for %s", what)
		}
		<-tick.C
	}
}

// freeze stops a process and waits until it has stopped.
func (h *testHost) freeze(pid int) {
	h.t.Helper()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		h.t.Fatal(err)
	}
	h.eventually("the process to stop", func() bool { return processState(pid) == 'T' })
}

// isGone reports whether a process has ended; a zombie has.
func isGone(pid int) bool {
	state := processState(pid)
	return state == 0 || state == 'Z' || state == 'X'
}

// processState returns the letter ps shows, or 0 if there is no such process.
func processState(pid int) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(stat), ") ")
	if err != nil || !ok {
		return 0
	}
	return rest[0]
}

// processSignals returns a set of signals from a process's status.
func (h *testHost) processSignals(pid int, set string) (mask uint64) {
	h.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		h.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\n"+set+":")
	if _, err := fmt.Sscanf(rest, "%x", &mask); err != nil {
		h.t.Fatal(err)
	}
	return mask
}

// processTitle returns what ps shows as the command.
func processTitle(pid int) string {
	title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	return strings.TrimRight(strings.ReplaceAll(string(title), "\x00", " "), " ")
}
