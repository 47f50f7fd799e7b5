//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// testLauncher is the test's end of a launcher: a worker process that registers
// and awaits other workers on demand.
type testLauncher struct {
	t    *testing.T
	name string
	pid  int
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
}

// startLaunchers starts a host with launchers of those names and returns them
// in that order. A launcher named "stays" can't be terminated.
func startLaunchers(t *testing.T, names []string, options ...hostOption) (*testHost, []*testLauncher) {
	t.Helper()
	var workers []plugins.BackgroundWorker
	for _, name := range names {
		w := plugins.BackgroundWorker{Name: name, Type: "launcher", FunctionName: "launcher", RestartTime: plugins.NeverRestart}
		if name == "stays" {
			w.FunctionName = "launcher_stays"
		}
		workers = append(workers, w)
	}
	return startCallers(t, names, append(options, withWorkers(workers...))...)
}

// startCallers starts a host whose children of those names are launchers.
func startCallers(t *testing.T, names []string, options ...hostOption) (*testHost, []*testLauncher) {
	t.Helper()
	dir := newDataDir(t, "")
	listener, err := net.Listen("unix", filepath.Join(dir, launcherSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	h := startHost(t, append(options, inDir(dir))...)
	byName := make(map[string]*testLauncher)
	for range names {
		if err := listener.(*net.UnixListener).SetDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		conn, err := listener.Accept()
		if err != nil {
			t.Fatalf("no launcher calls: %v", err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		l := &testLauncher{t: t, conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}
		a := l.answer()
		l.name, l.pid = a.Name, a.Pid
		byName[l.name] = l
	}
	var launchers []*testLauncher
	for _, name := range names {
		if byName[name] == nil {
			t.Fatalf("launcher %q has not called", name)
		}
		launchers = append(launchers, byName[name])
	}
	return h, launchers
}

// give tells the launcher what to do; answer must follow.
func (l *testLauncher) give(o order) {
	l.t.Helper()
	if err := l.out.Encode(o); err != nil {
		l.t.Fatalf("launcher %s: %v", l.name, err)
	}
}

// giveWait is give for a wait, and returns once the launcher sleeps in it, as
// shared memory shows to all.
func (l *testLauncher) giveWait(h *testHost, o order) {
	l.t.Helper()
	l.give(o)
	want := shmem.WaitEvent{Class: shmem.WaitClassIPC, Name: map[string]string{"await start": "BgworkerStartup", "await end": "BgworkerShutdown"}[o.Do]}
	segment := h.segment(l.pid)
	h.eventually("the launcher to wait", func() bool {
		for i := range segment.ProcCount() {
			if record := segment.Proc(i); record.Pid() == l.pid {
				return record.WaitEvent() == want
			}
		}
		return false
	})
}

// segment returns the host's shared memory as the child pid has it.
func (h *testHost) segment(pid int) *shmem.Segment {
	h.t.Helper()
	file, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", pid, handshake.FDSegment), os.O_RDWR, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	segment, err := shmem.Attach(file)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = segment.Close() })
	return segment
}

// answer returns what came of the order.
func (l *testLauncher) answer() answer {
	l.t.Helper()
	if err := l.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		l.t.Fatal(err)
	}
	var a answer
	if err := l.in.Decode(&a); err != nil {
		l.t.Fatalf("launcher %s does not answer: %v", l.name, err)
	}
	return a
}

func (l *testLauncher) do(o order) answer {
	l.t.Helper()
	l.give(o)
	return l.answer()
}

// must is do for what cannot fail.
func (l *testLauncher) must(o order) answer {
	l.t.Helper()
	a := l.do(o)
	if a.Error != "" {
		l.t.Fatalf("launcher %s: %s: %s (SQLSTATE %s)", l.name, o.Do, a.Error, a.Code)
	}
	return a
}

// register registers a worker of the library faults that notifies the launcher.
func (l *testLauncher) register(w plugins.BackgroundWorker) plugins.Handle {
	l.t.Helper()
	return l.must(order{Do: "register", Worker: l.notified(w)}).Handle
}

// notified completes a registration.
func (l *testLauncher) notified(w plugins.BackgroundWorker) plugins.BackgroundWorker {
	w.Flags |= plugins.ShmemAccess
	w.LibraryName = "faults"
	if w.NotifyPid == 0 {
		w.NotifyPid = l.pid
	}
	return w
}

// awaitStart waits for a worker's start and returns its pid.
func (l *testLauncher) awaitStart(h plugins.Handle) int {
	l.t.Helper()
	return l.must(order{Do: "await start", Handle: h}).Pid
}

// end terminates a worker and waits for its end.
func (l *testLauncher) end(h plugins.Handle) {
	l.t.Helper()
	l.must(order{Do: "terminate", Handle: h})
	l.must(order{Do: "await end", Handle: h})
}

// wantStatus checks what the launcher sees of a worker.
func (l *testLauncher) wantStatus(h plugins.Handle, status plugins.HandleStatus, pid int) {
	l.t.Helper()
	if a := l.must(order{Do: "look", Handle: h}); a.Status != status || a.Pid != pid {
		l.t.Errorf("launcher %s sees %s as %v, %d; want %v, %d", l.name, h, a.Status, a.Pid, status, pid)
	}
}

// waiter is a worker that runs until it is terminated.
func waiter(name string) plugins.BackgroundWorker {
	return plugins.BackgroundWorker{Name: name, Type: "dynamic", FunctionName: "wait", RestartTime: plugins.NeverRestart}
}

// unstartable is a worker whose start time does not come, for want of a server.
func unstartable(name string) plugins.BackgroundWorker {
	w := waiter(name)
	w.StartTime = plugins.StartAtRecoveryFinished
	return w
}
