//go:build linux

package integration

import (
	"context"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// hold registers a held worker of the library faults.
func (l *testLauncher) hold(w plugins.BackgroundWorker, request int64) plugins.Handle {
	l.t.Helper()
	return l.must(order{Do: "register held", Worker: l.notified(w), Request: request}).Handle
}

// holdAtGate is hold, and returns the pid when the process sleeps at its gate.
func (l *testLauncher) holdAtGate(h *testHost, w plugins.BackgroundWorker, request int64) (plugins.Handle, int) {
	l.t.Helper()
	handle := l.hold(w, request)
	pid := l.awaitStart(handle)
	h.awaitGate(l.pid, pid)
	return handle, pid
}

// awaitGate waits until the process pid sleeps at its gate, as the segment that
// another child has mapped shows.
func (h *testHost) awaitGate(via, pid int) {
	h.t.Helper()
	segment := h.segment(via)
	h.eventually("the worker to wait at its gate", func() bool {
		for i := range segment.ProcCount() {
			if record := segment.Proc(i); record.Pid() == pid {
				return record.WaitEvent() == shmem.WaitEvent{Class: shmem.WaitClassIPC, Name: "HeldWorkerRelease"}
			}
		}
		return false
	})
}

// wantRequest checks what the launcher sees of a request.
func (l *testLauncher) wantRequest(request int64, handle plugins.Handle, held bool) {
	l.t.Helper()
	if a := l.must(order{Do: "find", Request: request}); !a.Found || a.Handle != handle || a.Held != held {
		l.t.Errorf("launcher %s sees %+v of request %d, want %s, held %v", l.name, a, request, handle, held)
	}
}

func TestAHeldWorkerRunsOnceItIsReleased(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l", "other"})
	l, other := ls[0], ls[1]
	handle, pid := l.holdAtGate(h, waiter("d"), 7)
	other.wantRequest(7, handle, true)
	if row, reason := h.describe("d"); row.State != "held" || row.WaitEvent != "IPC:HeldWorkerRelease" || reason == "" {
		t.Errorf("it is said to be %+v: %s", row, reason)
	}
	kill(t, pid, unix.SIGUSR1) // these change nothing
	kill(t, pid, unix.SIGHUP)
	kill(t, pid, unix.SIGINT)
	h.awaitGate(l.pid, pid)
	if n := h.count(`d waits$`); n != 0 {
		t.Fatal("main has run")
	}
	l.must(order{Do: "release", Handle: handle})
	other.must(order{Do: "release", Handle: handle})
	h.waitLog(`LOG:  d waits$`)
	l.wantRequest(7, handle, false)
	if row, _ := h.describe("d"); row.State != "running" {
		t.Errorf("it is said to be %+v", row)
	}
	l.end(handle)
	l.must(order{Do: "release", Handle: handle})
	h.stop()
	if n := h.count(`d waits$`); n != 1 {
		t.Errorf("main has run %d times", n)
	}
}

// describe returns what ps and why say of a worker.
func (h *testHost) describe(name string) (row control.Worker, reason string) {
	h.t.Helper()
	rows, err := life{testHost: h}.rows()
	i := slices.IndexFunc(rows, func(r control.Worker) bool { return r.Name == name })
	if err != nil || i < 0 {
		h.t.Fatalf("ps does not show %s: %+v, %v", name, rows, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	client, err := control.Dial(ctx, h.dir)
	if err != nil {
		h.t.Fatal(err)
	}
	defer client.Close()
	response, err := client.Do(ctx, control.Request{Op: control.OpWhy, Target: name})
	if err != nil || len(response.Answers) != 1 {
		h.t.Fatalf("why says %+v, %v", response, err)
	}
	return rows[i], response.Answers[0].Reason
}

// Whichever comes first, the process or the release, main runs once.
func TestAReleaseIsNeverTooEarlyAndNeverTooLate(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l"})
	l := ls[0]
	w := waiter("d")
	w.FunctionName = "return_error"
	const rounds = 20
	for i := range rounds {
		handle := l.hold(w, int64(i)+1)
		if i%3 == 0 {
			l.awaitStart(handle)
		}
		l.must(order{Do: "release", Handle: handle})
		h.waitLogCount(`ERROR:  something failed `, i+1)
		l.must(order{Do: "await end", Handle: handle})
	}
	h.stop()
	if n := h.count(`ERROR:  something failed `); n != rounds {
		t.Errorf("main has run %d times, not %d", n, rounds)
	}
}

func TestAHeldWorkerThatIsTerminatedNeverRunsMain(t *testing.T) {
	t.Parallel()
	for name, function := range map[string]string{"default signals": "wait", "manual signals": "manual_signals"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, ls := startLaunchers(t, []string{"l"})
			l := ls[0]
			w := waiter("d")
			w.FunctionName, w.RestartTime = function, 0
			handle, _ := l.holdAtGate(h, w, 7)
			l.must(order{Do: "terminate", Handle: handle})
			l.must(order{Do: "release", Handle: handle}) // too late
			l.must(order{Do: "await end", Handle: handle})
			l.wantStatus(handle, plugins.HandleStopped, 0)
			h.waitLog(`FATAL:  terminating background worker "dynamic" due to administrator command$`)
			h.waitLog(`LOG:  background worker "dynamic" \(PID \d+\) exited with exit code 1$`)
			if a := l.must(order{Do: "find", Request: 7}); a.Found {
				t.Errorf("it is still there: %+v", a)
			}
			h.stop()
			if n := h.count(`LOG:  d |reinitializing`); n != 0 {
				t.Error("main has run, or there was a crash")
			}
		})
	}
}

// Who ends the process does not end the registration: it is started again, and
// waits again until it is released, and then no more.
func TestAHeldWorkerThatIsRestartedIsHeldAgain(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l"})
	l := ls[0]
	w := waiter("d")
	w.RestartTime = 0
	handle, pid := l.holdAtGate(h, w, 7)
	again := func(sig unix.Signal) {
		t.Helper()
		former := pid
		kill(t, pid, sig)
		h.eventually("the restart", func() bool {
			pid = l.must(order{Do: "find", Request: 7}).Pid
			return pid > 0 && pid != former
		})
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGQUIT, unix.SIGKILL} {
		again(sig)
		h.awaitGate(l.pid, pid)
	}
	l.wantRequest(7, handle, true)
	l.must(order{Do: "release", Handle: handle})
	h.waitLogCount(`LOG:  d waits$`, 1)
	again(unix.SIGTERM)
	h.waitLogCount(`LOG:  d waits$`, 2)
	l.wantRequest(7, handle, false)
	l.end(handle)
	h.stop()
	if n := h.count(`exited with exit code 2$`); n != 1 {
		t.Errorf("SIGQUIT has ended it %d times", n)
	}
}

func TestAHostThatIsKilledTakesItsHeldWorkersWithIt(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l"})
	_, pid := ls[0].holdAtGate(h, waiter("d"), 7)
	kill(t, h.pid(), unix.SIGKILL)
	h.awaitExit()
	if !isGone(pid) || h.count(`d waits$`) != 0 {
		t.Error("it lives on, or main has run")
	}
}

func TestAShutdownEndsHeldWorkers(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l"})
	ls[0].holdAtGate(h, waiter("d"), 7)
	h.stop()
	if h.count(`d waits$`) != 0 {
		t.Error("main has run")
	}
}

// What the successor of a launcher that was killed needs is in shared memory.
func TestASuccessorReleasesWhatItsLauncherHasLeft(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l", "successor"})
	l, successor := ls[0], ls[1]
	released, ended := l.hold(waiter("released"), 7), l.hold(waiter("ended"), 8)
	kill(t, l.pid, unix.SIGKILL)
	h.waitLog(`background worker "launcher" \(PID \d+\) was terminated by signal 9: Killed$`)
	successor.wantRequest(7, released, true)
	successor.wantRequest(8, ended, true)
	successor.must(order{Do: "release", Handle: successor.must(order{Do: "find", Request: 7}).Handle})
	successor.end(successor.must(order{Do: "find", Request: 8}).Handle)
	h.waitLog(`LOG:  released waits$`)
	successor.end(released)
	h.stop()
	if n, m := h.count(`released waits$`), h.count(`ended waits$`); n != 1 || m != 0 {
		t.Errorf("the one has run %d times, the other %d times", n, m)
	}
}

// A crash cycle ends the launcher, too: its successor registers again what its
// tables say.
func TestNoHeldRegistrationSurvivesACrashCycle(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l"}, withSetting("crash_scope=cluster"))
	l := ls[0]
	held, released, other := waiter("held"), waiter("released"), waiter("other")
	held.RestartTime, released.RestartTime, other.RestartTime = 0, 0, 0
	l.register(other)
	l.holdAtGate(h, held, 7)
	handle, pid := l.holdAtGate(h, released, 8)
	l.must(order{Do: "release", Handle: handle})
	h.waitLog(`LOG:  released waits$`)
	h.waitLog(`LOG:  other waits$`)
	kill(t, pid, unix.SIGKILL)
	h.waitLog(reinitializing)
	h.waitLogCount(`LOG:  other waits$`, 2)
	rows, err := life{testHost: h}.rows()
	h.eventually("ps", func() bool { // of the new control server
		rows, err = life{testHost: h}.rows()
		return err == nil
	})
	if len(rows) != 1 || rows[0].Name != "other" {
		t.Errorf("these have survived: %+v", rows)
	}
	h.stop()
	if n, m := h.count(`LOG:  released waits$`), h.count(`LOG:  held waits$`); n != 1 || m != 0 {
		t.Errorf("the one has run %d times, the other %d times", n, m)
	}
}
