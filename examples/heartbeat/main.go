// Command heartbeat is a library with one worker, which leaves a row in a table
// every minute. It is the example of README.md, word for word.
package main

import (
	"context"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
)

func main() { plugins.Main(library()) }

func library() plugins.Library {
	return plugins.Library{
		Name: "heartbeat",
		Init: func(p *plugins.Init) error { // _PG_init
			p.RegisterBackgroundWorker(plugins.BackgroundWorker{
				Name:         "heartbeat",
				Flags:        plugins.ShmemAccess | plugins.BackendDatabaseConnection,
				StartTime:    plugins.StartAtRecoveryFinished,
				RestartTime:  10, // seconds
				LibraryName:  "heartbeat",
				FunctionName: "heartbeat_main",
			})
			return nil
		},
		Functions: plugins.Functions{"heartbeat_main": heartbeatMain},
	}
}

// Nil is exit code 0: done. An error is exit code 1: started again after
// RestartTime. ctx ends on SIGTERM.
func heartbeatMain(ctx context.Context, w *plugins.Worker) error {
	conn, err := connect.InitializeConnection(ctx, w, "", "", 0)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS heartbeat (at timestamptz DEFAULT now())"); err != nil {
		return err
	}
	for {
		if _, err := conn.Exec(ctx, "INSERT INTO heartbeat DEFAULT VALUES"); err != nil {
			return err
		}
		_, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.Timeout|plugins.ExitOnPostmasterDeath, time.Minute, plugins.ExtensionWait("HeartbeatMain"))
		if err != nil {
			return err
		}
		w.ResetLatch()
	}
}
