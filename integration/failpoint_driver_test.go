//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// failpointsLibrary has what passes the failpoints by itself, so that it can be
// killed, and starts over.
func failpointsLibrary() plugins.Library {
	return plugins.Library{Name: "failpoints", Functions: plugins.Functions{
		"driver":    driver,
		"accompany": accompany,
		"fail":      func(context.Context, *plugins.Worker) error { return errors.New("something failed") },
	}}
}

// driver registers a worker of each kind, one after another because there is
// only one slot for them, and sees each of them start and end. Wherever it or
// the host was killed before, it gets there at last.
func driver(ctx context.Context, w *plugins.Worker) error {
	for _, held := range w.BackgroundWorkers() {
		if held.Request == heldRequest { // by a former driver, who can't release it any more
			if err := w.ReleaseBackgroundWorker(held.Handle); err != nil {
				return err
			}
		}
	}
	for _, d := range []plugins.BackgroundWorker{
		{Name: "d", FunctionName: "accompany"},
		{Name: "p", FunctionName: "accompany", Flags: plugins.ClassParallel},
		{Name: "e", FunctionName: "fail"},
		{Name: "h", FunctionName: "fail"},
	} {
		d.LibraryName, d.RestartTime, d.NotifyPid, d.MainArg = "failpoints", plugins.NeverRestart, w.Pid(), int64(w.Pid())
		d.Flags |= plugins.ShmemAccess
		if err := drive(ctx, w, d); err != nil {
			if w.PostmasterIsAlive() && ctx.Err() == nil {
				w.Logf(elog.Log, "driver gives up: %s: %v", d.Name, err)
			}
			return err
		}
	}
	w.Logf(elog.Log, "driver is done")
	return wait(ctx, w)
}

// heldRequest is the request of the worker h, which is held.
const heldRequest = 1 << 40

func registerAs(w *plugins.Worker, d plugins.BackgroundWorker) (plugins.Handle, error) {
	if d.Name == "h" {
		return w.RegisterHeldBackgroundWorker(d, heldRequest)
	}
	return w.RegisterDynamicBackgroundWorker(d)
}

// patience is how long the driver waits for an answer.
const patience = limit / 3

// drive is the life of one worker.
func drive(ctx context.Context, w *plugins.Worker, d plugins.BackgroundWorker) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("nobody answers"))
	defer cancel()
	handle, err := registerAs(w, d)
	for errors.Is(err, plugins.ErrNoSlot) { // a former driver's worker is about to go
		if _, waitErr := w.WaitLatch(ctx, waitEvents|plugins.Timeout, 10*time.Millisecond, plugins.WaitEvent{}); waitErr != nil || ctx.Err() != nil {
			return errors.Join(err, waitErr)
		}
		w.ResetLatch()
		handle, err = registerAs(w, d)
	}
	if err != nil {
		return err
	}
	if err := awaitNews(ctx, w, handle, func(s plugins.HandleStatus) bool { return s != plugins.HandleNotYetStarted }); err != nil {
		return fmt.Errorf("its start: %w", err)
	}
	switch {
	case d.Name == "h":
		err = w.ReleaseBackgroundWorker(handle)
	case d.FunctionName != "fail":
		err = w.TerminateBackgroundWorker(handle)
	}
	if err != nil {
		return err
	}
	if err := awaitNews(ctx, w, handle, func(s plugins.HandleStatus) bool { return s == plugins.HandleStopped }); err != nil {
		return fmt.Errorf("its end: %w", err)
	}
	return nil
}

// awaitNews waits for a status. Unlike WaitForBackgroundWorkerStartup and
// -Shutdown it relies on being notified, and on nothing else.
func awaitNews(ctx context.Context, w *plugins.Worker, h plugins.Handle, done func(plugins.HandleStatus) bool) error {
	for {
		status, _, err := w.GetBackgroundWorkerPid(h)
		if err != nil || done(status) {
			return err
		}
		events, err := w.WaitLatch(ctx, waitEvents, 0, plugins.WaitEvent{})
		switch {
		case err != nil:
			return errors.Join(err, context.Cause(ctx))
		case events&plugins.PostmasterDeath != 0:
			return plugins.ErrPostmasterDied
		}
		w.ResetLatch()
	}
}

// accompany ends with the process whose pid is its MainArg.
func accompany(ctx context.Context, w *plugins.Worker) error {
	for unix.Kill(int(w.Entry().MainArg), 0) == nil {
		if events, err := w.WaitLatch(ctx, waitEvents|plugins.Timeout, 10*time.Millisecond, plugins.WaitEvent{}); err != nil || events&plugins.PostmasterDeath != 0 {
			return err
		}
		w.ResetLatch()
	}
	return nil
}
