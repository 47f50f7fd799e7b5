//go:build linux && !portable

package plugins_test

import (
	"context"
	"fmt"

	"github.com/pgexthost/pgexthost/plugins"
)

// A launcher starts the worker of a request once, whoever dies in between: what
// has started is what the table says.
func ExampleWorker_RegisterHeldBackgroundWorker() {
	started := make(map[int64]int) // stands for a table: the pid of each request that has started
	launch := func(ctx context.Context, w *plugins.Worker, request int64) error {
		h, err := w.RegisterHeldBackgroundWorker(plugins.BackgroundWorker{
			Name: "job", Flags: plugins.ShmemAccess, RestartTime: plugins.NeverRestart,
			LibraryName: "mine", FunctionName: "job_main", NotifyPid: w.Pid(),
		}, request)
		if err != nil {
			return err
		}
		pid, err := w.WaitForBackgroundWorkerStartup(ctx, h)
		if err != nil {
			return err
		}
		started[request] = pid // here a real launcher commits; its successor looks what was, and goes on
		return w.ReleaseBackgroundWorker(h)
	}
	runWithFakeHost(func(ctx context.Context, w *plugins.Worker) error {
		if err := launch(ctx, w, 42); err != nil {
			return err
		}
		for _, info := range w.BackgroundWorkers() {
			fmt.Printf("request %d: process %d\n", info.Request, started[info.Request])
		}
		return nil
	})
	// Output: request 42: process 1000
}

// What a worker reports, "pgexthost ps --json" and "why" show, and the log if it
// crashes. Statements of package connect are reported by themselves.
func ExampleWorker_ReportActivity() {
	runWithFakeHost(func(_ context.Context, w *plugins.Worker) error {
		for i := range 3 {
			w.ReportActivity(plugins.StateRunning, fmt.Sprintf("uploading part %d of 3", i+1))
		}
		w.ReportActivity(plugins.StateIdle, "")
		return nil
	})
	// Output:
}
