package main

import (
	"context"
	"errors"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// walkLibraryName is the library that hosts of a random life have preloaded.
const walkLibraryName = "walk"

// The workers that run whenever the host does.
const (
	walkWaiter = "walk waiter" // waits, and reads the settings again when told to
	walkParent = "walk parent" // has a process of its own
)

// walkLibrary has workers of all kinds that live without a server.
func walkLibrary() plugins.Library {
	return plugins.Library{
		Name: walkLibraryName,
		Init: walkInit,
		Functions: plugins.Functions{
			"wait": waitLikeAWorker, "parent": haveAChild, "fail": failSoon,
			"done": func(context.Context, *plugins.Worker) error { return nil },
		},
	}
}

func walkInit(p *plugins.Init) error {
	p.DefineCustomInt(plugins.IntVariable{Name: "walk.value", Default: 1, Min: 1, Max: 1000000})
	restless := p.DefineCustomBool(plugins.BoolVariable{Name: "walk.restless", Default: true, Context: plugins.PGCPostmaster})
	register := func(name, function string, restartTime int) {
		p.RegisterBackgroundWorker(plugins.BackgroundWorker{
			Name: name, LibraryName: walkLibraryName, FunctionName: function,
			Flags: plugins.ShmemAccess, StartTime: plugins.StartAtPostmasterStart, RestartTime: restartTime,
		})
	}
	register(walkWaiter, "wait", 0)
	register(walkParent, "parent", 0)
	if restless() { // these come and go
		register("walk hasty", "fail", 0)
		register("walk lame", "fail", 1)
		register("walk done", "done", 0)
	}
	return nil
}

func waitLikeAWorker(ctx context.Context, w *plugins.Worker) error {
	if err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload); err != nil {
		return err
	}
	for {
		if _, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.PostmasterDeath, 0, plugins.WaitEvent{}); err != nil || !w.PostmasterIsAlive() {
			return err
		}
		w.ResetLatch()
		if w.ConfigReloadPending() {
			w.ProcessConfigFile()
		}
	}
}

// haveAChild starts a process, which it takes along whenever it can.
func haveAChild(ctx context.Context, w *plugins.Worker) error {
	child := exec.Command("sleep", "600")
	if err := child.Start(); err != nil {
		return err
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	return waitLikeAWorker(ctx, w)
}

func failSoon(ctx context.Context, w *plugins.Worker) error {
	_, err := w.WaitLatch(ctx, plugins.Timeout|plugins.PostmasterDeath, 250*time.Millisecond, plugins.WaitEvent{})
	if err == nil && w.PostmasterIsAlive() {
		err = errors.New("failing, as always")
	}
	return err
}
