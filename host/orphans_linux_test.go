package host

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// orphan is a process whose parent has died and that this process has inherited.
type orphan struct {
	pid int
	end func() // lets it exit with code 3, and waits until it has
}

// makeOrphan makes this process a subreaper, to which the kernel gives orphans
// just as it does to the first process of a container, and one orphan.
func makeOrphan(t *testing.T, ownSession bool) orphan {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	cmd := exec.Command("sh", "-c", `sh -c 'read line; exit 3' <&3 >&- 2>&- & echo $!`)
	cmd.ExtraFiles = []*os.File{r}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: !ownSession}
	out, err := cmd.Output()
	_ = r.Close()
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(out), &pid); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return orphan{pid, func() {
		_ = w.Close()
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Minute.Milliseconds()))
			if n > 0 {
				return
			}
			if err != unix.EINTR {
				t.Fatalf("the orphan does not end: %v", err)
			}
		}
	}}
}

func TestAnOrphanIsReapedOnceItHasExited(t *testing.T) {
	o := makeOrphan(t, false)
	var out bytes.Buffer
	log := elog.NewLogger(&out)
	log.Configure("", elog.Debug1, elog.DestinationStderr)
	reapOrphans(log)
	if out.Len() > 0 || unix.Kill(o.pid, 0) != nil {
		t.Fatalf("an orphan that lives is left alone; log: %s", out.String())
	}
	o.end()
	reapOrphans(log)
	if err := unix.Kill(o.pid, 0); err != unix.ESRCH {
		t.Errorf("the orphan has not been reaped: %v", err)
	}
	if want := fmt.Sprintf("untracked child process (PID %d) exited with exit code 3", o.pid); !strings.Contains(out.String(), want) {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// Who runs a host in a program of his own may start processes beside it, and
// wait for them.
func TestAProcessOfTheHostsOwnSessionIsNoOrphan(t *testing.T) {
	o := makeOrphan(t, true)
	o.end()
	reapOrphans(elog.NewLogger(&bytes.Buffer{}))
	if err := unix.Kill(o.pid, 0); err != nil {
		t.Errorf("it was reaped: %v", err)
	}
	if _, _, err := reap(o.pid); err != nil { // which also shows that it had ended
		t.Error(err)
	}
}

func TestWhatTheSpawnerStartsIsNoOrphan(t *testing.T) {
	s := newSpawner()
	defer s.close()
	result := make(chan spawned, 1)
	s.submit(spawnRequest{path: "/bin/true", title: "x", files: []*os.File{nil, nil, nil}, done: func(r spawned) { result <- r }})
	child := <-result
	if child.err != nil {
		t.Fatal(child.err)
	}
	defer unix.Close(child.pidfd)
	awaitExitBlocking(child.pid)
	if orphans, err := adopted(); err != nil || slices.Contains(orphans, child.pid) {
		t.Errorf("got %v, %v; the child is %d", orphans, err, child.pid)
	}
	reapOrphans(elog.NewLogger(&bytes.Buffer{}))
	if _, _, err := reap(child.pid); err != nil {
		t.Errorf("somebody else has reaped it: %v", err)
	}
}

func TestOnlyTheFirstProcessLooksForOrphans(t *testing.T) {
	if os.Getpid() == 1 {
		t.Skip("this is the first process")
	}
	if catchOrphans() != nil {
		t.Error("SIGCHLD is caught")
	}
}
