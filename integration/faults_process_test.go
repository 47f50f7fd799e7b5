//go:build linux

package integration

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func runtimeGoexit() { runtime.Goexit() }

// grandchild starts a process of its own, which must not outlive an immediate
// shutdown either.
func grandchild(ctx context.Context, w *plugins.Worker) error {
	if err := leaveGrandchild(ctx, w); err != nil {
		return err
	}
	return wait(ctx, w)
}

// leaveGrandchild ends, and the process that it has started lives on.
func leaveGrandchild(_ context.Context, w *plugins.Worker) error {
	cmd := exec.Command("sleep", "120") // longer than any wait, but a killed host's lives on so long
	if err := cmd.Start(); err != nil {
		return err
	}
	w.Logf(elog.Log, "%s has started process %d", w.Entry().Name, cmd.Process.Pid)
	return nil
}

// busyError fails while it is doing something.
func busyError(_ context.Context, w *plugins.Worker) error {
	w.ReportActivity(plugins.StateRunning, "SELECT busy()")
	return errors.New("something failed")
}

// blockSignals blocks signals that were not.
func blockSignals(ctx context.Context, w *plugins.Worker) error {
	w.BlockSignals()
	return manualSignals(ctx, w)
}

// sigpwr sends itself what the kernel sends when the host dies, and lives on for
// longer than a worker outlives its host.
func sigpwr(ctx context.Context, w *plugins.Worker) error {
	if err := unix.Kill(w.Pid(), plugins.PostmasterDeathSignal); err != nil {
		return err
	}
	events, err := w.WaitLatch(ctx, waitEvents|plugins.Timeout, time.Second, plugins.WaitEvent{})
	if err != nil || events != plugins.Timeout {
		return err
	}
	w.Logf(elog.Log, "%s lives on", w.Entry().Name)
	return wait(ctx, w)
}

// contextError returns why its context has ended.
func contextError(ctx context.Context, w *plugins.Worker) error {
	w.Logf(elog.Log, "%s waits", w.Entry().Name)
	<-ctx.Done()
	return context.Cause(ctx)
}

// claim registers another worker at run time; with a MainArg one of the parallel
// class that it leads.
func claim(ctx context.Context, w *plugins.Worker) error {
	claimed := plugins.BackgroundWorker{
		Name: "claimed", Flags: plugins.ShmemAccess, LibraryName: "faults", FunctionName: "wait", RestartTime: plugins.NeverRestart,
	}
	if w.Entry().MainArg != 0 {
		claimed.Flags |= plugins.ClassParallel
		claimed.NotifyPid = w.Pid()
	}
	return claimAll(ctx, w, claimed)
}

// claimSessions does it for workers with sessions.
func claimSessions(ctx context.Context, w *plugins.Worker) error {
	once, again := sessionWorker("dynamic, once"), sessionWorker("dynamic, again")
	again.RestartTime = 3600
	for _, claimed := range []*plugins.BackgroundWorker{&once, &again} {
		claimed.LibraryName = "faults"
		claimed.Flags |= plugins.ShmemAccess
	}
	return claimAll(ctx, w, once, again)
}

func claimAll(ctx context.Context, w *plugins.Worker, workers ...plugins.BackgroundWorker) error {
	for _, claimed := range workers {
		handle, err := w.RegisterDynamicBackgroundWorker(claimed)
		if err != nil {
			return err
		}
		w.Logf(elog.Log, "%s has registered %s, %s", w.Entry().Name, claimed.Name, handle)
	}
	return wait(ctx, w)
}
