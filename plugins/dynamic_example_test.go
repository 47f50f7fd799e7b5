//go:build linux && !portable

package plugins_test

import (
	"context"
	"encoding/json"
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

// A handle is kept as text, in a table, say. After a crash of the host that has made
// its shared memory anew, no handle of before stands for anything.
func ExampleHandle() {
	runWithFakeHost(func(_ context.Context, w *plugins.Worker) error {
		h, err := w.RegisterDynamicBackgroundWorker(plugins.BackgroundWorker{
			Name: "helper", Flags: plugins.ShmemAccess, RestartTime: plugins.NeverRestart, LibraryName: "mine", FunctionName: "help_main",
		})
		if err != nil {
			return err
		}
		again, err := plugins.ParseHandle(h.String())
		if err != nil {
			return err
		}
		fmt.Println("the same worker:", again == h)
		fmt.Println("of this host's life:", again.Incarnation() == w.Incarnation())

		_, err = json.Marshal(map[string]plugins.Handle{"helper": h}) // as text, too
		return err
	})
	// Output:
	// the same worker: true
	// of this host's life: true
}

// A supervisor looks at what became of workers that are not registered any more,
// and whether the server is to blame.
func ExampleWorker_UnregisteredWorkers() {
	runWithFakeHost(func(_ context.Context, w *plugins.Worker) error {
		for _, u := range w.UnregisteredWorkers() {
			if u.ExitCode != 0 && !u.Terminated {
				fmt.Printf("%s failed at %s: %s (%s)\n", u.Entry.Name, u.At, u.Message, u.SQLState)
			}
		}
		fmt.Println("server:", w.ServerState(), w.ServerNews())
		return nil
	})
	// Output: server: unreachable
}
