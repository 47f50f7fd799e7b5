//go:build linux

package integration

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// launcherSocket is where launchers call their test, in the data directory,
// which is the working directory of every child.
const launcherSocket = "launcher.sock"

// auxiliaryLauncher is the environment variable that gives a host an auxiliary
// process which is a launcher.
const auxiliaryLauncher = "PGEXTHOST_TEST_LAUNCHER"

// order is what a test wants a launcher to do: one call of an author's API.
type order struct {
	Do      string
	Worker  plugins.BackgroundWorker
	Handle  plugins.Handle
	Pid     int
	Timeout time.Duration
	Count   uint32
	Request int64
}

// answer is what came of it.
type answer struct {
	Name   string // of the launcher, in its first message
	Pid    int
	Handle plugins.Handle
	Status plugins.HandleStatus
	Text   string
	Found  bool
	Held   bool

	Code, Error, Hint     string
	NoSlot, Stopped, Died bool // errors.Is
}

// launcher does what its test tells it, until that hangs up.
func launcher(ctx context.Context, w *plugins.Worker) error {
	conn, err := net.Dial("unix", launcherSocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	// It can still answer what it was doing when its time came.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	if err := out.Encode(answer{Name: w.Entry().Name, Pid: w.Pid()}); err != nil {
		return err
	}
	for {
		var o order
		if err := in.Decode(&o); err != nil || o.Do == "exit" {
			return nil
		}
		if err := out.Encode(obey(ctx, w, o)); err != nil {
			return err
		}
	}
}

// launcherStays is a launcher that SIGTERM does not end.
func launcherStays(ctx context.Context, w *plugins.Worker) error {
	if err := w.HandleSignal(unix.SIGTERM, plugins.Ignore); err != nil {
		return err
	}
	return launcher(ctx, w)
}

func obey(ctx context.Context, w *plugins.Worker, o order) answer {
	a, err := carryOut(ctx, w, o)
	if err != nil {
		a.Code, a.Error = string(elog.CodeOf(err)), err.Error()
		a.NoSlot, a.Stopped, a.Died = errors.Is(err, plugins.ErrNoSlot), errors.Is(err, plugins.ErrStopped), errors.Is(err, plugins.ErrPostmasterDied)
		var report *elog.ErrorData
		if errors.As(err, &report) {
			a.Hint = report.Hint
		}
	}
	return a
}

func carryOut(ctx context.Context, w *plugins.Worker, o order) (a answer, err error) {
	switch o.Do {
	case "register":
		a.Handle, err = w.RegisterDynamicBackgroundWorker(o.Worker)
	case "register held":
		a.Handle, err = w.RegisterHeldBackgroundWorker(o.Worker, o.Request)
	case "release":
		err = w.ReleaseBackgroundWorker(o.Handle)
	case "find": // by its request
		for _, info := range w.BackgroundWorkers() {
			if info.Request == o.Request {
				a.Found, a.Handle, a.Pid, a.Held = true, info.Handle, info.Pid, info.Held
			}
		}
	case "look":
		a.Status, a.Pid, err = w.GetBackgroundWorkerPid(o.Handle)
	case "await start":
		a.Pid, err = w.WaitForBackgroundWorkerStartup(ctx, o.Handle)
	case "await end":
		err = w.WaitForBackgroundWorkerShutdown(ctx, o.Handle)
	case "terminate":
		err = w.TerminateBackgroundWorker(o.Handle)
	case "type":
		a.Text, a.Found = w.GetBackgroundWorkerTypeByPid(o.Pid)
	case "latch": // a.Found says whether it was set
		var events plugins.WakeEvents
		events, err = w.WaitLatch(ctx, waitEvents|plugins.Timeout, o.Timeout, plugins.WaitEvent{})
		a.Found = events&plugins.LatchSet != 0
		w.ResetLatch()
	case "set latch":
		w.SetLatch()
	case "log":
		w.Logf(elog.Log, "%s says something", w.Entry().Name)
	case "reload":
		w.ProcessConfigFile()
	case "counters":
		err = setParallelCounters(o.Count)
	default:
		err = fmt.Errorf("cannot do %q", o.Do)
	}
	return a, err
}

// Where the header of shared memory has its mutable words.
const (
	offsetTotalSlots        = 80
	offsetParallelRegister  = 88
	offsetParallelTerminate = 92
)

// setParallelCounters makes both counters of parallel workers what they are
// after so many workers, which nobody has the time to start.
func setParallelCounters(count uint32) error {
	var word [4]byte
	binary.NativeEndian.PutUint32(word[:], count)
	for _, offset := range []int64{offsetParallelRegister, offsetParallelTerminate} {
		if _, err := unix.Pwrite(handshake.FDSegment, word[:], offset); err != nil {
			return os.NewSyscallError("pwrite", err)
		}
	}
	if _, err := unix.Pread(handshake.FDSegment, word[:], offsetTotalSlots); err != nil {
		return os.NewSyscallError("pread", err)
	}
	if total := binary.NativeEndian.Uint32(word[:]); total != parallelTestSlots {
		return fmt.Errorf("the words of the header have moved: here is %d, not the number of slots", total)
	}
	return nil
}

// parallelTestSlots is max_worker_processes where the counters are set.
const parallelTestSlots = 11
