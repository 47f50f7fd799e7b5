//go:build linux && !portable

package plugins_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect/servermonitor"
	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// The main function of a host with a library compiled in. The order matters:
// each worker is this program again, and RunChild has to know the library.
func ExampleRunChild() {
	library := plugins.Library{Name: "mine", Functions: plugins.Functions{}}
	main := func() {
		plugins.Register(library)
		servermonitor.Register() // without it nobody learns that the server is there
		if plugins.IsChild() {
			plugins.RunChild() // does not return
		}
		// Here begins what only the host does: flags, its environment.
		os.Exit(host.Run(context.Background(), host.Options{
			DataDir:  os.Args[1], // "pgexthost init" or host.Init has made it
			Settings: []string{"shared_preload_libraries=mine"},
		}))
	}
	_ = main
}

// A latch that is set before the wait ends it at once, and stays set until it
// is reset.
func ExampleWorker_WaitLatch() {
	runWithFakeHost(func(ctx context.Context, w *plugins.Worker) error {
		nap := plugins.ExtensionWait("TickerNap") // what pgexthost ps shows
		w.SetLatch()
		for range 2 {
			events, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.Timeout|plugins.ExitOnPostmasterDeath, 10*time.Millisecond, nap)
			if err != nil {
				return err // why ctx has ended: SIGTERM, or the host is gone
			}
			if events&plugins.LatchSet != 0 {
				fmt.Println("somebody has set the latch")
			}
			if events&plugins.Timeout != 0 {
				fmt.Println("time is up")
			}
			w.ResetLatch()
		}
		return nil
	})
	// Output:
	// somebody has set the latch
	// time is up
}

// Dynamic workers outlive the launcher that registered them. The next launcher
// finds them by their type, and what they are for by their main argument.
func ExampleWorker_BackgroundWorkers() {
	refresher := plugins.BackgroundWorker{
		Name: "refresher of view 7", Type: "refresher", Flags: plugins.ShmemAccess, RestartTime: 10,
		LibraryName: "mine", FunctionName: "refresh_main", MainArg: 7,
	}
	runWithFakeHost(func(ctx context.Context, w *plugins.Worker) error {
		if _, err := w.RegisterDynamicBackgroundWorker(refresher); err != nil { // by a launcher that is gone
			return err
		}
		byView := make(map[int64]plugins.Handle)
		for _, info := range w.BackgroundWorkers() {
			if info.Entry.Type == "refresher" {
				byView[info.Entry.MainArg] = info.Handle
			}
		}
		pid, err := w.WaitForBackgroundWorkerStartup(ctx, byView[7])
		fmt.Println("view 7 has process", pid)
		return err
	})
	// Output: view 7 has process 1000
}

// HandleStopped may mean that the worker waits to be restarted. Whoever would
// replace it has to know whether it is still registered.
func ExampleWorker_GetBackgroundWorkerPid() {
	isGone := func(w *plugins.Worker, h plugins.Handle) (bool, error) {
		status, _, err := w.GetBackgroundWorkerPid(h)
		if err != nil || status != plugins.HandleStopped {
			return false, err
		}
		for _, info := range w.BackgroundWorkers() {
			if info.Handle == h {
				return info.State == plugins.WorkerStopped, nil // or WorkerWaiting: it comes back
			}
		}
		return true, nil
	}
	runWithFakeHost(func(_ context.Context, w *plugins.Worker) error {
		gone, err := isGone(w, plugins.Handle{}) // the handle of no worker
		fmt.Println(gone)
		return err
	})
	// Output: true
}

// A wait can be shorter than the life of the worker: the time-out of its
// context is not that of main's.
func ExampleWorker_WaitForBackgroundWorkerShutdown() {
	runWithFakeHost(func(ctx context.Context, w *plugins.Worker) error {
		h, err := w.RegisterDynamicBackgroundWorker(plugins.BackgroundWorker{
			Name: "stubborn", Flags: plugins.ShmemAccess, RestartTime: plugins.NeverRestart, LibraryName: "mine", FunctionName: "main",
		})
		if err != nil {
			return err
		}
		if _, err := w.WaitForBackgroundWorkerStartup(ctx, h); err != nil {
			return err
		}
		patience, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		err = w.WaitForBackgroundWorkerShutdown(patience, h) // nobody has terminated it
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			fmt.Println("it is still running")
			return nil
		}
		return err
	})
	// Output: it is still running
}

func ExampleWorker_ShowSetting() {
	runWithFakeHost(func(_ context.Context, w *plugins.Worker) error {
		level, err := w.ShowSetting("log_min_messages")
		fmt.Println(level)
		return err
	})
	// Output: warning
}

// Packages slog and log write to the host's log by themselves. Attributes are
// the DETAIL, and an error among them lends the record its SQLSTATE.
func ExampleWorker_Slog() {
	_ = func(_ context.Context, w *plugins.Worker) error {
		logger := w.Slog().With("view", "sales")
		logger.Info("refreshed", "rows", 12)
		slog.Warn("the same log") // slog.Default is w.Slog()
		err := elog.New(elog.Error, elog.InvalidParameterValue, "invalid interval").WithHint("Use at least one second.")
		logger.Error("could not refresh", "err", err) // SQLSTATE 22023, with its HINT
		return nil
	}
}

// A report that does not end the worker: an error that is returned does.
func ExampleWorker_Ereport() {
	_ = func(_ context.Context, w *plugins.Worker) error {
		w.Ereport(elog.New(elog.Warning, elog.ConfigurationLimitExceeded, "too many views").
			WithDetail("There are %d, but only %d refreshers.", 12, 10).
			WithHint("Consider increasing \"%s\".", "max_worker_processes"))
		return nil
	}
}

// Named in ManualSignals of its library, a function starts with signals held
// back: none is lost, and none finds a handler half set up.
func ExampleWorker_UnblockSignals() {
	_ = plugins.Library{
		Name: "mine", ManualSignals: []string{"mine_main"},
		Functions: plugins.Functions{"mine_main": func(ctx context.Context, w *plugins.Worker) error {
			var verbose atomic.Bool // a handler runs on a goroutine of its own
			err := w.HandleSignal(unix.SIGUSR2, func(w *plugins.Worker) {
				verbose.Store(!verbose.Load())
				w.SetLatch()
			})
			if err != nil {
				return err
			}
			w.UnblockSignals()
			_, err = w.WaitLatch(ctx, plugins.LatchSet|plugins.ExitOnPostmasterDeath, 0, plugins.ExtensionWait("MineMain"))
			return err
		}},
	}
}
