//go:build linux

package lockfile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// sleeper starts a process that does nothing, and reaps it when the test ends.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// dead returns the pid of a process that has ended.
func dead(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func write(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, Name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, dir string) string {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, Name))
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func expectReport(t *testing.T, err error, level elog.Level, code elog.SQLState, message, hint string) {
	t.Helper()
	var e *elog.ErrorData
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	if e.Level != level || e.Code != code || !strings.Contains(e.Message, message) || !strings.Contains(e.Hint, hint) {
		t.Errorf("got %v %s %q, hint %q", e.Level, e.Code, e.Message, e.Hint)
	}
}

func TestTheFileSaysWhereTheHostListens(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.SetAddresses(5433, "/a socket directory", "localhost"); err != nil {
		t.Fatal(err)
	}
	if err := f.SetStatus(Ready); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text(t, dir), "\n")
	if got := strings.Join(lines[3:6], "|") + "|" + lines[7]; got != "5433|/a socket directory|localhost|ready   " {
		t.Errorf("got %q", lines)
	}
	c, err := Read(dir)
	if err != nil || c.Port != 5433 || c.SocketDir != "/a socket directory" || c.ListenAddress != "localhost" || c.Pid != os.Getpid() {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestTheFileHasPostgresEightLines(t *testing.T) {
	dir := t.TempDir()
	before := time.Now().Unix()
	f, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text(t, dir), "\n")
	if len(lines) != 9 || lines[8] != "" {
		t.Fatalf("got %d lines: %q", len(lines)-1, lines)
	}
	var started int64
	if _, err := fmt.Sscan(lines[2], &started); err != nil || started < before || started > time.Now().Unix() {
		t.Errorf("line 3 is %q", lines[2])
	}
	want := []string{fmt.Sprint(os.Getpid()), dir, lines[2], "0", "", "", ownIdentity().String(), "starting", ""}
	for i := range want {
		if lines[i] != want[i] {
			t.Errorf("line %d is %q, want %q", i+1, lines[i], want[i])
		}
	}
	for status, padded := range map[Status]string{Ready: "ready   ", Standby: "standby ", Stopping: "stopping"} {
		if err := f.SetStatus(status); err != nil {
			t.Fatal(err)
		}
		if got := strings.Split(text(t, dir), "\n"); got[7] != padded || len(got) != 9 {
			t.Errorf("%s: the last line is %q", status, got[7])
		}
		if c, err := Read(dir); err != nil || c.Status != status || c.Status.Up() != (status != Stopping) {
			t.Errorf("%s: read %+v, %v", status, c, err)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, Name)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	f.Remove()
	if _, err := Read(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Remove: %v", err)
	}
}

// A host that is killed while it makes the file would leave an empty one, at
// whose sight pgexthost start gives up, as pg_ctl does.
func TestTheFileIsNeverEmpty(t *testing.T) {
	dir := t.TempDir()
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, dir, unix.IN_CREATE|unix.IN_MODIFY); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir); err != nil {
		t.Fatal(err)
	}
	events := make([]byte, 4096)
	n, err := unix.Read(watch, events)
	if err != nil {
		t.Fatal(err)
	}
	var last uint32
	for rest := events[:n]; len(rest) > 0; {
		last = binary.NativeEndian.Uint32(rest[4:])
		rest = rest[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(rest[12:]):]
	}
	if last != unix.IN_CREATE {
		t.Errorf("it was written after it was made: the last event is %x", last)
	}
}

func TestWhereAFileMustHaveANameItIsWrittenInPlace(t *testing.T) {
	dir := t.TempDir()
	f := &File{path: filepath.Join(dir, Name), contents: Contents{Pid: 12, DataDir: dir, Status: Starting}}
	if err := f.makeInPlace(); err != nil {
		t.Fatal(err)
	}
	if got := text(t, dir); got != f.contents.String() {
		t.Errorf("it says %q", got)
	}
	if err := f.makeInPlace(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("another's is there: %v", err)
	}
}

func TestReadSaysWhatIsWrongWithAFile(t *testing.T) {
	dir := t.TempDir()
	for content, message := range map[string]string{
		"": "the PID file \"" + dir + "/postmaster.pid\" is empty", "\x00\x00": "is empty",
		"x": "invalid data in PID file", "0\n": "invalid data", "-7\n": "invalid data", "99999999\n": "invalid data",
	} {
		write(t, dir, content)
		_, err := Read(dir)
		expectReport(t, err, elog.Error, elog.InternalError, message, "")
		if empty := strings.HasSuffix(message, "is empty"); errors.Is(err, ErrEmpty) != empty {
			t.Errorf("%q: %v, and empty is %v", content, err, !empty)
		}
	}
	write(t, dir, "12")
	if c, err := Read(dir); err != nil || c.Pid != 12 || c.Status.Up() {
		t.Errorf("a file of one line: %+v, %v", c, err)
	}
}

func TestALiveHolderIsRefused(t *testing.T) {
	dir, holder := t.TempDir(), sleeper(t)
	for _, content := range []string{
		fmt.Sprintf("%d\n", holder.Process.Pid),
		Contents{Pid: holder.Process.Pid, DataDir: dir, Started: time.Now(), Status: Ready}.String(),
		Contents{Pid: holder.Process.Pid, DataDir: dir, Started: time.Unix(1, 0), identity: identityOf(t, holder.Process.Pid)}.String(),
	} {
		write(t, dir, content)
		_, err := Create(dir)
		expectReport(t, err, elog.Fatal, elog.LockFileExists, "lock file \""+dir+"/postmaster.pid\" already exists",
			fmt.Sprintf("Is another postmaster (PID %d) running in data directory \"%s\"?", holder.Process.Pid, dir))
		if text(t, dir) != content {
			t.Error("the holder's file was changed")
		}
	}
}

func identityOf(t *testing.T, pid int) identity {
	t.Helper()
	p, err := lookAt(pid)
	if err != nil {
		t.Fatal(err)
	}
	return identity{start: p.start, namespace: ownNamespace()}
}

// grandparent returns the pid of our parent's parent, which is the shell if the
// parent is "pgexthost start".
func grandparent(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", os.Getppid()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nPPid:")
	var pid int
	if _, err := fmt.Sscan(rest, &pid); err != nil {
		t.Fatal(err)
	}
	if pid == 0 {
		return dead(t) // a test that is child of a container's first process has none
	}
	return pid
}

func TestRemnantsAreReplaced(t *testing.T) {
	zombie := exec.Command("true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = zombie.Wait() }()
	if err := unix.Waitid(unix.P_PID, zombie.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	young, longAgo := sleeper(t).Process.Pid, time.Now().Add(-time.Hour)
	for name, content := range map[string]string{
		"dead":                           Contents{Pid: dead(t), Started: time.Now()}.String(),
		"zombie":                         Contents{Pid: zombie.Process.Pid, Started: time.Now()}.String(),
		"pid used again":                 Contents{Pid: young, Started: longAgo}.String(),
		"pid used again at once":         Contents{Pid: young, Started: time.Now().Add(-10 * time.Second)}.String(),
		"pid used again, identity":       Contents{Pid: young, Started: longAgo, identity: identity{start: 1}}.String(),
		"pid used again, same second":    Contents{Pid: young, Started: time.Now(), identity: identity{start: 1, namespace: ownNamespace()}}.String(),
		"pid used again, clock set back": Contents{Pid: young, Started: time.Now().Add(time.Hour), identity: identity{start: 1, namespace: ownNamespace()}}.String(),
		"pid of another namespace":       Contents{Pid: young, Started: time.Now(), identity: identity{start: 1, namespace: 1}}.String(),
		"our own pid":                    Contents{Pid: os.Getpid(), Started: time.Now()}.String(),
		"our parent's":                   fmt.Sprintln(os.Getppid()),
		"our grandparent's":              fmt.Sprintln(grandparent(t)),
		"power lost":                     "",
		"power lost, zeros left":         "\x00\x00\x00",
		"first line without ending":      fmt.Sprint(dead(t)),
	} {
		dir := t.TempDir()
		write(t, dir, content)
		f, err := Create(dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c, err := Read(dir); err != nil || c.Pid != os.Getpid() {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
		f.Remove()
	}
}

// The kernel gives pids out again, to threads as to processes.
func TestAThreadIsNoHost(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := unix.Gettid()
	if tid == os.Getpid() {
		other := make(chan int)
		go func() {
			runtime.LockOSThread() // and not unlock: the thread ends with the goroutine
			other <- unix.Gettid()
			<-other
		}()
		tid = <-other
		defer close(other)
	}
	if _, err := (Contents{Pid: tid, Started: time.Now()}).Holder(); !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
}

func TestCreateRefusesWhatItCannotReplace(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "not a pid\n")
	_, err := Create(dir)
	expectReport(t, err, elog.Fatal, elog.InternalError, "invalid data in PID file", "remove the file by hand")

	if err := os.Remove(filepath.Join(dir, Name)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, Name), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = Create(dir)
	expectReport(t, err, elog.Fatal, elog.WrongObjectType, "could not open PID file", "")

	_, err = Create(filepath.Join(dir, "missing"))
	expectReport(t, err, elog.Fatal, elog.UndefinedFile, "could not create lock file", "")
}

func TestRecheckNoticesALostOrReplacedFile(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if valid, problem := f.Recheck(); !valid || problem != nil {
		t.Errorf("ours: %v, %v", valid, problem)
	}
	write(t, dir, "1\n")
	valid, problem := f.Recheck()
	if want := fmt.Sprintf("contains wrong PID: 1 instead of %d", os.Getpid()); valid || !strings.Contains(problem.Message, want) {
		t.Errorf("another's: %v, %v", valid, problem)
	}
	expectReport(t, f.SetStatus(Stopping), elog.Log, "", "contains wrong PID", "")
	f.Remove()
	if text(t, dir) != "1\n" {
		t.Error("another's file was changed or removed")
	}
	if err := os.Remove(filepath.Join(dir, Name)); err != nil {
		t.Fatal(err)
	}
	if valid, problem := f.Recheck(); valid || !strings.Contains(problem.Message, "No such file or directory") {
		t.Errorf("gone: %v, %v", valid, problem)
	}
	expectReport(t, f.SetStatus(Ready), elog.Log, elog.UndefinedFile, "could not open file", "")
	if _, err := Read(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("SetStatus has made a new file")
	}
	if err := os.Mkdir(filepath.Join(dir, Name), 0o700); err != nil {
		t.Fatal(err)
	}
	if valid, problem := f.Recheck(); !valid || !strings.Contains(problem.Message, "Is a directory; continuing anyway") {
		t.Errorf("in doubt: %v, %v", valid, problem)
	}
}

func TestHolderIsSignalledAndAwaited(t *testing.T) {
	cmd := sleeper(t)
	c := Contents{Pid: cmd.Process.Pid, Started: time.Now()}
	p, err := c.Holder()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for a live process: %v", err)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Wait(ctx); err != nil { // also while it is a zombie
		t.Errorf("waiting for its end: %v", err)
	}
	_ = cmd.Wait()
	if err := p.Signal(unix.SIGTERM); !errors.Is(err, ErrGone) {
		t.Errorf("a signal after the end: %v", err)
	}
	if _, err := c.Holder(); !errors.Is(err, ErrGone) {
		t.Errorf("a dead holder: %v", err)
	}
}

func TestAHostInAnotherNamespaceIsNeitherGoneNorOurs(t *testing.T) {
	dir := t.TempDir()
	c := Contents{Pid: sleeper(t).Process.Pid, DataDir: dir, Started: time.Now(), identity: identity{start: 1, namespace: 1}}
	if _, err := c.Holder(); !errors.Is(err, ErrGone) {
		t.Errorf("nobody holds the directory: %v", err)
	}
	lock, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	_, err = c.Holder()
	expectReport(t, err, elog.Error, elog.ObjectNotInPrerequisite, "runs in another PID namespace", "inside its container")
	elsewhere := c
	elsewhere.DataDir = "/the/path/in/its/container"
	write(t, dir, elsewhere.String())
	found, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = found.Holder()
	expectReport(t, err, elog.Error, elog.ObjectNotInPrerequisite, "runs in another PID namespace", "")
	if _, err := Create(dir); err != nil {
		t.Errorf("with the lock in our own hands: %v", err)
	}
}

// A thread has an id of the same kind, but is no process.
func TestTheIdOfAThreadIsNoHolder(t *testing.T) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil || id == os.Getpid() {
			continue
		}
		if _, err := (Contents{Pid: id, Started: time.Now()}).Holder(); !errors.Is(err, ErrGone) {
			t.Errorf("thread %d: %v", id, err)
		}
	}
}

// Whoever looks finds no file or a whole one, and so does who comes after a host
// that was killed at any moment.
func TestNobodyReadsHalfAFile(t *testing.T) {
	dir := t.TempDir()
	done := make(chan struct{})
	var looks, found int
	go func() {
		defer close(done)
		for found < 60 {
			c, err := Read(dir)
			looks++
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil || c.Status != Starting || c.DataDir != dir:
				t.Errorf("read %+v, %v", c, err)
				return
			default:
				found++
			}
		}
	}()
	for {
		f, err := Create(dir)
		if err != nil {
			t.Fatal(err)
		}
		f.Remove()
		select {
		case <-done:
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("left are %v, %v", entries, err)
			}
			t.Logf("%d looks, %d of them found a file", looks, found)
			return
		default:
		}
	}
}
