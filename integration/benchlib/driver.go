package benchlib

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// Command is what a benchmark asks of the driver.
type Command struct {
	Op        string // one of the operations below
	Workers   int    // how many
	Connected bool   // whether they have a session
}

// The operations.
const (
	OpStart = "start" // start workers, which stay
	OpCycle = "cycle" // start workers, all at once, and terminate them
	OpCrash = "crash" // start a worker, kill it, let it be restarted, terminate it
)

// Answer is when what has happened. Of several workers at once it is the last
// one's time.
type Answer struct {
	Asked      int64 // before the first registration
	Registered int64 // RegisterDynamicBackgroundWorker has returned
	Started    int64 // WaitForBackgroundWorkerStartup has returned: what worker_spi_launch waits for
	Workers    []Stamps
	Killed     int64
	Restarted  Stamps
	Terminate  int64 // before TerminateBackgroundWorker
	Gone       int64 // WaitForBackgroundWorkerShutdown has returned
	Error      string
}

// driver is the worker that the benchmark talks to.
type driver struct {
	w      *plugins.Worker
	stamps *net.UnixConn
}

func drive(ctx context.Context, w *plugins.Worker) error {
	dir := directory(w)
	stamps, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, stampsSocket), Net: "unixgram"})
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", filepath.Join(dir, DriverSocket))
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = listener.Close(); _ = stamps.Close() })()
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	d := &driver{w: w, stamps: stamps}
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var c Command
		if err := in.Decode(&c); err != nil {
			return err
		}
		a, err := d.do(ctx, c)
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

func (d *driver) do(ctx context.Context, c Command) (a Answer, err error) {
	restart := plugins.NeverRestart
	if c.Op == OpCrash {
		restart = 0
	}
	handles, err := d.start(ctx, c, restart, &a)
	if err != nil || c.Op == OpStart {
		return a, err
	}
	if c.Op == OpCrash {
		a.Killed = Now()
		if err := unix.Kill(a.Workers[0].Pid, unix.SIGKILL); err != nil {
			return a, err
		}
		if a.Restarted, err = receive(d.stamps); err != nil {
			return a, err
		}
	}
	return a, d.terminate(ctx, handles, &a)
}

func (d *driver) start(ctx context.Context, c Command, restart int, a *Answer) (handles []plugins.Handle, err error) {
	w := plugins.BackgroundWorker{
		Name: "bench", Flags: plugins.ShmemAccess, StartTime: plugins.StartAtPostmasterStart, RestartTime: restart,
		LibraryName: "bench", FunctionName: "idle", NotifyPid: d.w.Pid(), Extra: d.w.Entry().Extra,
	}
	if c.Connected {
		w.Flags |= plugins.BackendDatabaseConnection
		w.StartTime = plugins.StartAtRecoveryFinished
	}
	a.Asked = Now()
	for range c.Workers {
		h, err := d.w.RegisterDynamicBackgroundWorker(w)
		if err != nil {
			return nil, err
		}
		handles = append(handles, h)
	}
	a.Registered = Now()
	for _, h := range handles {
		if _, err := d.w.WaitForBackgroundWorkerStartup(ctx, h); err != nil {
			return nil, err
		}
	}
	a.Started = Now()
	for range c.Workers {
		s, err := receive(d.stamps)
		if err != nil {
			return nil, fmt.Errorf("waiting for a worker: %w", err)
		}
		a.Workers = append(a.Workers, s)
	}
	return handles, nil
}

func (d *driver) terminate(ctx context.Context, handles []plugins.Handle, a *Answer) error {
	a.Terminate = Now()
	for _, h := range handles {
		if err := d.w.TerminateBackgroundWorker(h); err != nil {
			return err
		}
	}
	for _, h := range handles {
		if err := d.w.WaitForBackgroundWorkerShutdown(ctx, h); err != nil {
			return err
		}
	}
	a.Gone = Now()
	return nil
}
