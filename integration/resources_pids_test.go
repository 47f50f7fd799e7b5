//go:build linux

package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins"
)

// inNamespace is set where a test runs in a PID namespace of its own.
const inNamespace = "PGEXTHOST_TEST_IN_NAMESPACE"

// inOwnPidNamespace runs the test again as the first process of a new PID
// namespace, where it may choose which pid is given out next, and reports true
// there.
func inOwnPidNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		for _, mount := range []func() error{
			func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
			func() error { return unix.Mount("proc", "/proc", "proc", 0, "") },
		} {
			if err := mount(); err != nil {
				t.Fatal(err)
			}
		}
		return true
	}
	const tries = 10
	for try := 1; ; try++ {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, unix.EPERM) {
			t.Skip("this machine lets us make no PID namespace: ", err)
		}
		if err == nil || try == tries || !strings.Contains(string(out), pidIsTaken) {
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			return false
		}
	}
}

// pidIsTaken is what a test says to be run once more: somebody's thread, which
// may live for long, has got the pid that it needs.
const pidIsTaken = "the pid is taken"

// steerTo makes a pid the next one that is given out, unless somebody is faster.
func steerTo(t *testing.T, pid int) {
	t.Helper()
	if exists(fmt.Sprintf("/proc/%d", pid)) {
		t.Fatal(pidIsTaken)
	}
	if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
		t.Fatal(err)
	}
}

// takePid starts a process that has a given pid, which must be free, and that
// any signal ends.
func takePid(t *testing.T, pid int) *exec.Cmd {
	t.Helper()
	const tries = 1000 // others start processes, too
	for range tries {
		steerTo(t, pid)
		cmd := exec.Command("sleep", "600")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end := func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
		if cmd.Process.Pid == pid {
			t.Cleanup(end)
			return cmd
		}
		end()
	}
	t.Fatalf("no process has got the pid %d", pid)
	return nil
}

// expectUnharmed checks that a stranger has got no signal.
func expectUnharmed(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if isGone(cmd.Process.Pid) {
		t.Errorf("the stranger with pid %d is gone", cmd.Process.Pid)
	}
}

// A killed host leaves its lock file, and in the same second its pid is
// another's: nobody takes that one for the host.
func TestAStrangerWithTheHostsPidIsNotTakenForIt(t *testing.T) {
	t.Parallel()
	if !inOwnPidNamespace(t) {
		return
	}
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
	h.waitStatus(lockfile.Ready)
	h.waitLog(`LOG:  w waits$`)
	h.signal(unix.SIGKILL)
	<-h.exited
	other := takePid(t, h.pid())
	c, err := lockfile.Read(h.dir)
	if err != nil || c.Pid != other.Process.Pid {
		t.Fatalf("got %+v, %v", c, err)
	}
	if _, err := c.Holder(); !errors.Is(err, lockfile.ErrGone) { // this is what stop, status and reload ask
		t.Errorf("the stranger is taken for the host: %v", err)
	}
	h.awaitLogEnd()
	again := startHost(t, inDir(h.dir), withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
	again.waitLog(`LOG:  w waits$`)
	again.stop()
	expectUnharmed(t, other)
}

// SPEC §8: whoever gets the pid of a worker that wanted to be notified is not
// notified in its place, and the one who asks for the end of the worker with
// that pid does not end it.
func TestAStrangerWithAWorkersPidGetsNoSignal(t *testing.T) {
	t.Parallel()
	if !inOwnPidNamespace(t) {
		return
	}
	h, ls := startLaunchers(t, []string{"goes", "stays"})
	goes, stays := ls[0], ls[1]
	handle := goes.register(waiter("d"))
	pid := goes.awaitStart(handle)
	h.waitLog(`LOG:  d waits$`)
	kill(t, goes.pid, unix.SIGKILL)
	h.waitLog(fmt.Sprintf(`LOG:  background worker "launcher" \(PID %d\) was terminated by signal 9: Killed$`, goes.pid))
	notified := takePid(t, goes.pid)
	stays.end(handle) // the exit of d would notify the one who has registered it
	h.waitLog(`DEBUG:  unregistering background worker "d"$`)
	worker := takePid(t, pid)
	if a := stays.must(order{Do: "type", Pid: pid}); a.Found {
		t.Errorf("the stranger is a worker of type %q", a.Text)
	}
	stays.must(order{Do: "terminate", Handle: handle})

	// A registration in the name of a stranger notifies nobody.
	d := waiter("e")
	d.NotifyPid = notified.Process.Pid
	h.waitLog(`DEBUG:  unregistering background worker "goes"$`)
	stays.end(stays.registerAndAwait(d))
	h.waitLog(fmt.Sprintf(`DEBUG:  worker notification PID %d is not valid$`, notified.Process.Pid))
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  received SIGHUP`)
	h.signal(unix.SIGQUIT)
	<-h.exited
	expectUnharmed(t, notified)
	expectUnharmed(t, worker)
}

// A worker that gets the pid of an earlier one does not get what was meant for
// that: neither its notifications nor its end.
func TestAWorkerWithAnEarlierOnesPidIsAnotherWorker(t *testing.T) {
	t.Parallel()
	if !inOwnPidNamespace(t) {
		return
	}
	h, ls := startLaunchers(t, []string{"goes", "stays"})
	goes, stays := ls[0], ls[1]
	watched := goes.register(waiter("d"))
	goes.awaitStart(watched)
	kill(t, goes.pid, unix.SIGKILL)
	h.waitLog(fmt.Sprintf(`LOG:  background worker "launcher" \(PID %d\) was terminated by signal 9: Killed$`, goes.pid))
	listener := waiter("listener")
	listener.FunctionName = "latch"
	var heir plugins.Handle
	h.eventually("a worker to get the pid", func() bool {
		steerTo(t, goes.pid)
		heir = stays.register(listener)
		if stays.awaitStart(heir) == goes.pid {
			return true
		}
		stays.end(heir)
		return false
	})
	h.waitLog(fmt.Sprintf(`\[%d\] LOG:  listener waits$`, goes.pid))
	stays.end(watched)
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  received SIGHUP`) // so that what follows from its end has happened
	kill(t, goes.pid, unix.SIGUSR1)    // the one that it does get
	h.waitLog(`LOG:  listener has its latch set$`)
	stays.end(heir)
	h.waitLogCount(`DEBUG:  unregistering background worker "listener"$`, 1)
	if n := h.count(`LOG:  listener has its latch set$`); n != 1 {
		t.Errorf("its latch was set %d times", n)
	}
}

// registerAndAwait registers a worker and waits for its start.
func (l *testLauncher) registerAndAwait(w plugins.BackgroundWorker) plugins.Handle {
	l.t.Helper()
	handle := l.register(w)
	l.awaitStart(handle)
	return handle
}
