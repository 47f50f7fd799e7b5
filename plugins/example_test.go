package plugins_test

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// A library with one static worker and a setting.
func ExampleLibrary() {
	var interval func() time.Duration
	library := plugins.Library{
		Name: "ticker",
		Init: func(p *plugins.Init) error {
			interval = p.DefineCustomDuration(plugins.DurationVariable{
				Name: "ticker.interval", Description: "Time between two ticks.",
				Default: time.Minute, Min: time.Second, Max: time.Hour, Unit: time.Second,
			})
			p.RegisterBackgroundWorker(plugins.BackgroundWorker{
				Name: "ticker", Flags: plugins.ShmemAccess, RestartTime: 10,
				LibraryName: "ticker", FunctionName: "ticker_main",
			})
			return nil
		},
		Functions: plugins.Functions{
			"ticker_main": func(ctx context.Context, w *plugins.Worker) error {
				for {
					w.Logf(elog.Log, "tick")
					if _, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.Timeout|plugins.ExitOnPostmasterDeath,
						interval(), plugins.ExtensionWait("TickerMain")); err != nil {
						return err
					}
					w.ResetLatch()
				}
			},
		},
	}
	fmt.Println(library.Name, len(library.Functions)) // plugins.Main(library) in a program of its own
	// Output: ticker 1
}

// A registration that PostgreSQL would refuse is refused with its words.
func ExampleBackgroundWorker_SanityCheck() {
	w := plugins.BackgroundWorker{
		Name:  "impatient",
		Flags: plugins.ShmemAccess | plugins.BackendDatabaseConnection,
		// StartAtPostmasterStart: there is no database to connect to yet.
	}
	err := w.SanityCheck()
	fmt.Println(err)
	fmt.Println(elog.CodeOf(err))
	fmt.Println(elog.AsErrorData(err, elog.Error).Hint)
	// Output:
	// background worker "impatient": cannot request database access if starting at postmaster start
	// 22023
	// Set StartTime to StartAtConsistentState or StartAtRecoveryFinished.
}

// A main function that ends in its own time on SIGTERM, and reloads its
// settings on SIGHUP.
func ExampleWorker_HandleSignal() {
	_ = func(ctx context.Context, w *plugins.Worker) error {
		if err := w.HandleSignal(unix.SIGTERM, plugins.SignalHandlerForShutdownRequest); err != nil {
			return err
		}
		if err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload); err != nil {
			return err
		}
		for !w.ShutdownRequestPending() {
			if _, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.ExitOnPostmasterDeath, 0, plugins.WaitEvent{}); err != nil {
				return err
			}
			w.ResetLatch()
			if w.ConfigReloadPending() {
				w.ProcessConfigFile()
			}
		}
		return nil // exit code 0: unregistered
	}
}

func ExampleParallelExtra() {
	extra, err := plugins.ParallelExtra(1, "mylib", "scan_part")
	if err != nil {
		panic(err)
	}
	w := plugins.BackgroundWorker{
		Name: "part 1", Flags: plugins.ShmemAccess | plugins.ClassParallel, RestartTime: plugins.NeverRestart,
		LibraryName: "postgres", FunctionName: "ParallelWorkerMain", Extra: extra,
	}
	fmt.Println(w.SanityCheck(), plugins.ParallelWorkerNumber(w))
	// Output: <nil> 1
}
