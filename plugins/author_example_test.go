package plugins_test

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// The whole program of a library. Start it by hand to see what it offers, and with
// --standalone greeter_main to debug it.
func ExampleMain() {
	main := func() {
		plugins.Main(plugins.Library{
			Name: "greeter",
			Functions: plugins.Functions{"greeter_main": func(_ context.Context, w *plugins.Worker) error {
				w.Logf(elog.Log, "hello from process %d", w.Pid())
				return nil
			}},
		})
	}
	_ = main
}

// A library that can also be loaded at run time, by a dynamic worker that names it:
// static workers and settings of context postmaster are for the start of the host.
func ExampleInit_PreloadInProgress() {
	initialize := func(p *plugins.Init) error {
		p.DefineCustomBool(plugins.BoolVariable{Name: "mine.verbose", Description: "Whether to say more."})
		if !p.PreloadInProgress() {
			return nil
		}
		p.RegisterBackgroundWorker(plugins.BackgroundWorker{
			Name: "mine", Flags: plugins.ShmemAccess, LibraryName: "mine", FunctionName: "mine_main",
		})
		return nil
	}
	_, err := plugins.Load("", initialize)
	fmt.Println(err)
	// Output: <nil>
}

// Handlers can be put before the usual ones, or take them away.
func ExampleDie() {
	_ = func(ctx context.Context, w *plugins.Worker) error {
		if err := w.HandleSignal(unix.SIGTERM, func(w *plugins.Worker) {
			w.Logf(elog.Log, "told to end")
			plugins.Die(w) // ctx ends, and with it the wait below
		}); err != nil {
			return err
		}
		if err := w.HandleSignal(unix.SIGINT, plugins.Ignore); err != nil { // what follows must not be cancelled
			return err
		}
		// …
		if err := w.HandleSignal(unix.SIGINT, plugins.StatementCancelHandler); err != nil { // as it was: nil does the same
			return err
		}
		_, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.ExitOnPostmasterDeath, 0, plugins.ExtensionWait("MineMain"))
		return err
	}
}

// Between these two a SIGTERM waits: what has been begun is finished.
func ExampleWorker_BlockSignals() {
	_ = func(ctx context.Context, w *plugins.Worker, upload func(part int) error) error {
		for part := range 3 {
			w.BlockSignals()
			err := upload(part)
			w.UnblockSignals()
			if err != nil {
				return err
			}
		}
		return context.Cause(ctx) // the handler of a SIGTERM that had to wait ends ctx, now or soon
	}
}

// Work that neither waits nor looks at ctx should not go on without a host for long:
// the process ends half a second after it anyway.
func ExampleWorker_PostmasterIsAlive() {
	_ = func(ctx context.Context, w *plugins.Worker) error {
		w.Logf(elog.Debug1, "working for host %d", w.PostmasterPid())
		for n := 0; n < 1_000_000_000; n++ {
			if n%1_000_000 == 0 && (ctx.Err() != nil || !w.PostmasterIsAlive()) {
				return context.Cause(ctx)
			}
		}
		return nil
	}
}
