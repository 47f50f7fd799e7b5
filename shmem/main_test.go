package shmem_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/shmem"
)

// childRole is the environment variable that makes the test binary one of the
// other processes of a test.
const childRole = "PGEXTHOST_SHMEM_ROLE"

// limit bounds every wait.
const limit = 60 * time.Second

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		if err := roles[role](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// roles are what a child process of a test can do.
var roles = map[string]func() error{
	"echo":     echoLatch,
	"claim":    claimAndRelease,
	"die-held": dieWithLock,
	"hold":     holdLock,
	"take":     takeLock,

	"pong":       pong,
	"pong-futex": pongFutex,
}

// process is another process with the same segment.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

// startProcess starts the test binary in a role, with the segment and the alarm
// as descriptors 3 and 4.
func startProcess(t testing.TB, role string, s *shmem.Segment, a *shmem.Alarm) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), childRole+"="+role)
	p.cmd.Stderr = os.Stderr
	p.cmd.ExtraFiles = []*os.File{s.File(), a.File()}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	p.lines = bufio.NewScanner(stdout)
	return p
}

func (p *process) readLine(t testing.TB) string {
	t.Helper()
	if !p.lines.Scan() {
		t.Fatalf("the other process ended: %v", p.lines.Err())
	}
	return p.lines.Text()
}

// attachInherited is what a child does first.
func attachInherited() (*shmem.Segment, *shmem.Alarm, error) {
	s, err := shmem.Attach(os.NewFile(3, "segment"))
	return s, shmem.InheritAlarm(4), err
}

// create makes a segment, or skips the test where there is no memory to share.
func create(t testing.TB, slots, procs int) *shmem.Segment {
	t.Helper()
	s, err := shmem.Create(slots, procs)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	return s
}

func newSegment(t testing.TB, slots, procs int) (*shmem.Segment, *shmem.Alarm) {
	t.Helper()
	s := create(t, slots, procs)
	a, err := shmem.NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return s, a
}
