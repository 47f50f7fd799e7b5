package integration

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/plugins"
)

// announce tells a datagram socket, which its Extra names, that main has been
// reached, or with a MainArg that the server has answered. Then it waits.
func announce(ctx context.Context, w *plugins.Worker) error {
	if w.Entry().MainArg != 0 {
		conn, err := connect.InitializeConnection(ctx, w, "", "", 0)
		if err != nil {
			return err
		}
		var one int
		if err := conn.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
			return err
		}
	}
	socket, err := net.Dial("unixgram", extraString(w))
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(socket, w.Pid()); err != nil {
		return err
	}
	_ = socket.Close()
	for {
		if _, err := w.WaitLatch(ctx, waitEvents, 0, plugins.WaitEvent{}); err != nil {
			return err
		}
		w.ResetLatch()
	}
}

// bench is a host to measure, and the socket that its workers announce
// themselves at.
type bench struct {
	b      *testing.B
	client *control.Client
	dir    string
	socket *net.UnixConn
	path   string
}

func newBench(b *testing.B, conninfo string, options ...hostOption) *bench {
	b.Helper()
	options = append(options, withFileSettingsOnly(), withSetting("max_worker_processes=1000"), withSetting("shared_preload_libraries=faults"))
	if conninfo != "" {
		options = append(options, withServer(conninfo))
	}
	h := startHost(b, options...)
	h.waitLog(`LOG:  extension host is ready$`)
	if conninfo != "" {
		h.waitLog(`LOG:  server is accepting read-write connections$`)
	}
	path := filepath.Join(shortTempDir(b), "socket")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		b.Fatal(err)
	}
	client, err := control.Dial(b.Context(), h.dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close(); _ = socket.Close() })
	return &bench{b, client, h.dir, socket, path}
}

func (x *bench) do(r control.Request) {
	x.b.Helper()
	client := x.client
	if r.Wait { // ends the conversation
		var err error
		if client, err = control.Dial(x.b.Context(), x.dir); err != nil {
			x.b.Fatal(err)
		}
		defer client.Close()
	}
	if _, err := client.Do(x.b.Context(), r); err != nil {
		x.b.Fatal(err)
	}
}

// launch registers a worker that announces itself.
func (x *bench) launch(connected bool) {
	x.b.Helper()
	l := &control.Launch{Library: "faults", Function: "announce", Name: "w", Extra: x.path}
	if connected {
		l.Arg, l.Database, l.Start = 1, true, plugins.StartAtRecoveryFinished
	}
	x.do(control.Request{Op: control.OpLaunch, Launch: l})
}

// heard waits for an announcement and returns the pid.
func (x *bench) heard() int {
	x.b.Helper()
	var text [32]byte
	n, err := x.socket.Read(text[:])
	if err != nil {
		x.b.Fatal(err)
	}
	var pid int
	_, _ = fmt.Sscan(string(text[:n]), &pid)
	return pid
}

func (x *bench) terminateAll() {
	x.b.Helper()
	x.do(control.Request{Op: control.OpTerminate, Target: "w", Wait: true})
}

// The floor of every launch: an exec of next to nothing.
func BenchmarkFloorExec(b *testing.B) {
	for b.Loop() {
		if err := exec.Command("/bin/true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// The floor of every connection: pgx alone, in a process that is there already.
func BenchmarkFloorConnect(b *testing.B) {
	conninfo := sharedServer(b).ConnInfo()
	for b.Loop() {
		conn, err := pgx.Connect(b.Context(), conninfo)
		if err != nil {
			b.Fatal(err)
		}
		var one int
		if err := conn.QueryRow(b.Context(), "SELECT 1").Scan(&one); err != nil {
			b.Fatal(err)
		}
		_ = conn.Close(b.Context())
	}
}

// From the request to the first line of main, also beside workers that run.
func BenchmarkLaunchToMain(b *testing.B) {
	for _, running := range []int{0, 10, 100, 400} {
		b.Run(fmt.Sprintf("running=%d", running), func(b *testing.B) {
			x := newBench(b, "")
			for range running {
				x.do(control.Request{Op: control.OpLaunch, Launch: &control.Launch{Library: "faults", Function: "announce", Name: "other", Extra: x.path}})
			}
			for range running {
				x.heard()
			}
			for b.Loop() {
				x.launch(false)
				x.heard()
				b.StopTimer()
				x.terminateAll()
				b.StartTimer()
			}
		})
	}
}

// From the request to the server's first answer.
func BenchmarkLaunchToFirstResult(b *testing.B) {
	x := newBench(b, sharedServer(b).ConnInfo())
	for b.Loop() {
		x.launch(true)
		x.heard()
		b.StopTimer()
		x.terminateAll()
		b.StartTimer()
	}
}

// From TerminateBackgroundWorker to the free slot.
func BenchmarkTerminateToGone(b *testing.B) {
	x := newBench(b, "")
	for b.Loop() {
		b.StopTimer()
		x.launch(false)
		x.heard()
		b.StartTimer()
		x.terminateAll()
	}
}

// From kill -9 to the first line of the next main.
func BenchmarkCrashToRunning(b *testing.B) {
	x := newBench(b, "")
	x.do(control.Request{Op: control.OpLaunch, Launch: &control.Launch{Library: "faults", Function: "announce", Name: "w", Extra: x.path, RestartTime: 0}})
	pid := x.heard()
	for b.Loop() {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			b.Fatal(err)
		}
		pid = x.heard()
	}
}

// 400 workers at once.
func BenchmarkBurst(b *testing.B) {
	const burst = 400
	x := newBench(b, "")
	for b.Loop() {
		go func() {
			for range burst {
				x.launch(false)
			}
		}()
		for range burst {
			x.heard()
		}
		b.StopTimer()
		x.terminateAll()
		runtime.Gosched()
		b.StartTimer()
	}
	b.ReportMetric(float64(burst*b.N)/b.Elapsed().Seconds(), "launches/s")
}
