//go:build linux && !portable

package host

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

func TestOnlyAChildOfTheSameBuildPassesTheHandshake(t *testing.T) {
	good := handshake.Hello{Protocol: handshake.ProtocolVersion, LayoutHash: shmem.LayoutHash(), ABI: handshake.ABIVersion}
	hello := func(change func(h *handshake.Hello)) func(io.Writer) error {
		h := good
		change(&h)
		return func(w io.Writer) error { return handshake.Write(w, h) }
	}
	for name, tt := range map[string]struct {
		answer func(io.Writer) error
		want   string // in the error; none if empty
		gone   bool
	}{
		"the same":         {hello(func(*handshake.Hello) {}), "", false},
		"another protocol": {hello(func(h *handshake.Hello) { h.Protocol++ }), "version mismatch: Server is version 1, library is version 2.", false},
		"another layout":   {hello(func(h *handshake.Hello) { h.LayoutHash++ }), "magic block mismatch: Server has shared memory layout = ", false},
		"and says so":      {hello(func(h *handshake.Hello) { h.LayoutHash++; h.Error = "another layout" }), "magic block mismatch: Server has shared memory layout = ", false},
		"another ABI":      {hello(func(h *handshake.Hello) { h.ABI++ }), `ABI mismatch: Server has ABI "1", library has "2".`, false},
		"an error":         {hello(func(h *handshake.Hello) { h.Error = "no room" }), "no room", false},
		"garbage":          {func(w io.Writer) error { _, err := io.WriteString(w, "Hello, world"); return err }, "malformed handshake message", false},
		"nothing":          {func(io.Writer) error { return nil }, "EOF", true},
		"half a message":   {func(w io.Writer) error { _, err := io.WriteString(w, "PGX\x01"); return err }, "unexpected EOF", true},
	} {
		t.Run(name, func(t *testing.T) {
			err := converse(t, tt.answer)
			if tt.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || isGone(err) != tt.gone {
				t.Errorf("got %v, gone: %v", err, isGone(err))
			}
		})
	}
}

// converse shakes hands with a child that reads its start-up message, answers
// and closes the socket.
func converse(t *testing.T, answer func(io.Writer) error) error {
	t.Helper()
	ours, theirs, err := newSocketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	child := make(chan error, 1)
	go func() {
		defer theirs.Close()
		var startup handshake.Startup
		if err := handshake.Read(theirs, &startup); err != nil || startup.Proc != 7 {
			child <- fmt.Errorf("the child got %+v, %w", startup, err)
			return
		}
		child <- answer(theirs)
	}()
	err = shakeHands(ours, &handshake.Startup{Proc: 7}, handshakeLimit)
	if childErr := <-child; childErr != nil {
		t.Error(childErr)
	}
	return err
}

func TestAChildThatIsGoneBeforeItsStartupMessageIsGone(t *testing.T) {
	ours, theirs, err := newSocketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	_ = theirs.Close()
	if err := shakeHands(ours, &handshake.Startup{}, handshakeLimit); !isGone(err) {
		t.Errorf("got %v", err)
	}
}

// A child that has closed the socket is usually dying. Only one that goes on
// living is killed.
func TestAChildThatClosesItsSocketHasAGracePeriod(t *testing.T) {
	s := newSpawner()
	defer s.close()
	child := startShell(t, s)
	synctest.Test(t, func(t *testing.T) {
		events := make(chan any)
		c := &children{byID: map[postmaster.ChildID]*process{1: {id: 1, pid: child.pid}}, post: func(ev any) { events <- ev }}
		start := time.Now()
		c.greeted(1, nil)
		c.greeted(2, io.EOF) // has been buried meanwhile
		c.greeted(1, io.EOF)
		if ev, want := <-events, any(goneQuiet{1, io.EOF}); ev != want || time.Since(start) != goneGrace {
			t.Errorf("got %v after %v", ev, time.Since(start))
		}
		if c.byID[1].failure != nil {
			t.Error("it was killed at once")
		}
	})
	_ = unix.Kill(-child.pid, unix.SIGTERM)
	child.expectEnd(t, "was terminated by signal 15: Terminated")
}

func TestAChildThatLivesOnWithoutItsSocketIsKilled(t *testing.T) {
	s := newSpawner()
	defer s.close()
	child := startShell(t, s)
	h := &host{children: &children{byID: map[postmaster.ChildID]*process{1: {id: 1, pid: child.pid}}}}
	h.dispatch(goneQuiet{2, io.EOF})
	h.dispatch(goneQuiet{1, io.EOF})
	child.expectEnd(t, "was terminated by signal 9: Killed")
	if err := h.children.byID[1].failure; err == nil || err.Error() != "handshake failed: EOF" {
		t.Errorf("got %v", err)
	}
}

func TestChildrenAreBornWithSignalsHeldBack(t *testing.T) {
	s := newSpawner()
	defer s.close()
	child := startShell(t, s)
	for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGUSR2, plugins.PostmasterDeathSignal} {
		if child.signals(t, "SigBlk")>>(sig-1)&1 == 0 {
			t.Errorf("%v is not blocked", sig)
		}
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGQUIT, unix.SIGINT} {
		if (child.signals(t, "SigBlk")|child.signals(t, "SigIgn"))>>(sig-1)&1 != 0 {
			t.Errorf("%v is blocked or ignored", sig)
		}
	}
	_ = unix.Kill(-child.pid, unix.SIGKILL)
	child.expectEnd(t, "was terminated by signal 9: Killed")
}

// The kernel takes the end of the thread that has forked a child for the death
// of its parent, so that is how to make a parent die in a test.
func TestChildrenAreToldOfTheDeathOfTheirParent(t *testing.T) {
	s := newSpawner()
	child := startShell(t, s)
	for child.thread == os.Getpid() { // the main thread never ends
		defer s.close()
		_ = unix.Kill(-child.pid, unix.SIGKILL)
		child.expectEnd(t, "was terminated by signal 9: Killed")
		s = newSpawner()
		child = startShell(t, s)
	}
	s.close()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for child.signals(t, "ShdPnd")>>(plugins.PostmasterDeathSignal-1)&1 == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the child was not told")
		}
		<-tick.C
	}
	_ = unix.Kill(-child.pid, unix.SIGKILL)
	child.expectEnd(t, "was terminated by signal 9: Killed")
}

// shell is a child that waits for its standard input.
type shell struct {
	spawned
	thread int // of the spawner
}

func startShell(t *testing.T, s *spawner) *shell {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	result := make(chan *shell, 1)
	s.submit(spawnRequest{path: "/bin/sh", title: "sh", files: []*os.File{r, nil, nil}, done: func(r spawned) { result <- &shell{r, unix.Gettid()} }})
	child := <-result
	if child.err != nil {
		t.Fatal(child.err)
	}
	return child
}

// signals returns a set of signals from the child's status, bit 0 for signal 1.
func (s *shell) signals(t *testing.T, set string) uint64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\n"+set+":\t")
	line, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(line, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask
}

func (s *shell) expectEnd(t *testing.T, want string) {
	t.Helper()
	pidfd := os.NewFile(uintptr(s.pidfd), "pidfd")
	defer pidfd.Close()
	_ = pidfd.SetDeadline(time.Now().Add(20 * time.Second))
	if err := awaitExit(pidfd); err != nil {
		t.Fatal(err)
	}
	if status, _, err := reap(s.pid); err != nil || status.String() != want {
		t.Errorf("got %v, %v; want %s", status, err, want)
	}
}

// Before that, it has no handler, and would write its stacks into the log.
func TestOnlyAChildThatHasAnsweredGetsSIGQUIT(t *testing.T) {
	for answered, want := range map[bool]unix.Signal{false: unix.SIGKILL, true: unix.SIGQUIT} {
		cmd := exec.Command("sleep", "600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p := &process{pid: cmd.Process.Pid, answered: answered}
		p.send(unix.SIGQUIT)
		_ = cmd.Wait()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != want {
			t.Errorf("answered: %v; it has ended with %v", answered, cmd.ProcessState)
		}
	}
}

// Before that, it may die of them; and no shared memory keeps them for it.
func TestSignalsWaitForAChildToAnswer(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{pid: cmd.Process.Pid}
	p.send(unix.SIGTERM)
	p.send(unix.SIGTERM)
	if len(p.held) != 1 || p.held[0] != unix.SIGTERM {
		t.Errorf("%v wait", p.held)
	}
	if err := unix.Kill(cmd.Process.Pid, 0); err != nil {
		t.Errorf("it is gone: %v", err)
	}
	p.greeted()
	_ = cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != unix.SIGTERM || len(p.held) != 0 {
		t.Errorf("it has ended with %v, %v wait", cmd.ProcessState, p.held)
	}
}
