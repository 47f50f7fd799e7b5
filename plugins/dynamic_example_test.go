package plugins_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgexthost/pgexthost/plugins"
)

// A launcher registers a worker, waits until it has been started, and ends it.
func ExampleWorker_RegisterDynamicBackgroundWorker() {
	launcherMain := func(ctx context.Context, w *plugins.Worker) error {
		h, err := w.RegisterDynamicBackgroundWorker(plugins.BackgroundWorker{
			Name: "cleaner", Flags: plugins.ShmemAccess, RestartTime: plugins.NeverRestart,
			LibraryName: "mine", FunctionName: "clean_main", NotifyPid: w.Pid(),
		})
		if err != nil {
			return err
		}
		pid, err := w.WaitForBackgroundWorkerStartup(ctx, h)
		if err != nil {
			return err
		}
		typ, _ := w.GetBackgroundWorkerTypeByPid(pid)
		fmt.Println("process", pid, "is a", typ)

		if err := w.TerminateBackgroundWorker(h); err != nil {
			return err
		}
		if err := w.WaitForBackgroundWorkerShutdown(ctx, h); err != nil {
			return err
		}
		status, _, err := w.GetBackgroundWorkerPid(h)
		fmt.Println("it has", status)
		return err
	}
	runWithFakeHost(launcherMain)
	// Output:
	// process 1000 is a cleaner
	// it has stopped
}

// Who gets no worker does the work himself.
func ExampleErrNoSlot() {
	work := func() { fmt.Println("done, without help") }
	runWithFakeHost(func(_ context.Context, w *plugins.Worker) error {
		for {
			_, err := w.RegisterDynamicBackgroundWorker(plugins.BackgroundWorker{
				Name: "helper", Flags: plugins.ShmemAccess, RestartTime: plugins.NeverRestart, LibraryName: "mine", FunctionName: "help_main",
			})
			switch {
			case errors.Is(err, plugins.ErrNoSlot):
				work()
				return nil
			case err != nil:
				return err
			}
			fmt.Println("one helper")
		}
	})
	// Output:
	// one helper
	// one helper
	// done, without help
}

// runWithFakeHost runs a main function in a host of two slots.
func runWithFakeHost(main plugins.MainFunc) {
	host, err := plugins.NewFakeHost(2)
	if err != nil {
		panic(err)
	}
	defer host.Alarm.Close()
	go host.Serve()
	if err := main(context.Background(), host.Worker); err != nil {
		panic(err)
	}
}
