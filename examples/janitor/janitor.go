package main

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

var naptime func() time.Duration

func library() plugins.Library {
	return plugins.Library{
		Name:      "janitor",
		Init:      initialize, // _PG_init
		Functions: plugins.Functions{"janitor_main": janitorMain},
	}
}

func initialize(p *plugins.Init) error {
	naptime = p.DefineCustomDuration(plugins.DurationVariable{
		Name: "janitor.naptime", Description: "Time between two rounds.",
		Default: time.Minute, Min: time.Second, Max: 24 * time.Hour,
		Unit: time.Second,
	})
	if !p.PreloadInProgress() {
		return nil
	}
	p.MarkGUCPrefixReserved("janitor")

	p.RegisterBackgroundWorker(plugins.BackgroundWorker{
		Name:         "janitor",
		Type:         "janitor",
		Flags:        plugins.ShmemAccess | plugins.BackendDatabaseConnection,
		StartTime:    plugins.StartAtRecoveryFinished,
		RestartTime:  10,
		LibraryName:  "janitor",
		FunctionName: "janitor_main",
	})
	return nil
}

func janitorMain(ctx context.Context, w *plugins.Worker) error {
	err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload)
	if err != nil {
		return err
	}
	// SIGTERM ends ctx; signals are unblocked.

	conn, err := connect.InitializeConnection(ctx, w, "postgres", "", 0)
	if err != nil {
		return err // exit code 1, as proc_exit(1)
	}
	waitEvent := plugins.ExtensionWait("JanitorMain")

	for {
		_, err := w.WaitLatch(ctx,
			plugins.LatchSet|plugins.Timeout|plugins.ExitOnPostmasterDeath,
			naptime(), waitEvent)
		if err != nil {
			return err // CHECK_FOR_INTERRUPTS
		}
		w.ResetLatch()
		if w.ConfigReloadPending() {
			w.ProcessConfigFile()
		}

		tag, err := conn.Exec(ctx,
			"DELETE FROM session WHERE expires < now()")
		if err != nil {
			return err
		}
		if n := tag.RowsAffected(); n > 0 {
			w.Logf(elog.Log, "janitor: removed %d sessions", n)
		}
	}
}
