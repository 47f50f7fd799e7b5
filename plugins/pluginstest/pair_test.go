package pluginstest_test

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// pair is a library with what needs a host: a leader that launches a follower, and
// a visitor of the server. All of them come back at once.
func pair() plugins.Library {
	var greeting func() string
	return plugins.Library{
		Name: "pair",
		Init: func(p *plugins.Init) error {
			greeting = p.DefineCustomString(plugins.StringVariable{Name: "pair.greeting", Default: "hello"})
			p.RegisterBackgroundWorker(plugins.BackgroundWorker{
				Name: "leader", Flags: plugins.ShmemAccess, LibraryName: "pair", FunctionName: "lead",
			})
			p.RegisterBackgroundWorker(plugins.BackgroundWorker{
				Name: "visitor", Flags: plugins.ShmemAccess | plugins.BackendDatabaseConnection, StartTime: plugins.StartAtRecoveryFinished,
				LibraryName: "pair", FunctionName: "visit",
			})
			return nil
		},
		Functions: plugins.Functions{
			"lead": func(ctx context.Context, w *plugins.Worker) error {
				if err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload); err != nil {
					return err
				}
				if err := launchFollower(ctx, w); err != nil {
					return err
				}
				w.Logf(elog.Log, "the leader says %s", greeting())
				for {
					if _, err := nap(ctx, w); err != nil {
						return err
					}
					if w.ConfigReloadPending() {
						w.ProcessConfigFile()
						w.Logf(elog.Log, "the leader says %s", greeting())
					}
				}
			},
			"follow": func(ctx context.Context, w *plugins.Worker) error {
				w.Logf(elog.Log, "following")
				_, err := nap(ctx, w)
				return err
			},
			"visit": func(ctx context.Context, w *plugins.Worker) error {
				conn, err := connect.InitializeConnection(ctx, w, "", "", 0)
				if err != nil {
					return err
				}
				w.Logf(elog.Log, "the server is there")
				_, err = conn.WaitForNotification(ctx)
				return err
			},
		},
	}
}

func launchFollower(ctx context.Context, w *plugins.Worker) error {
	follower, err := w.RegisterDynamicBackgroundWorker(plugins.BackgroundWorker{
		Name: "follower", Flags: plugins.ShmemAccess, RestartTime: plugins.NeverRestart, NotifyPid: os.Getpid(),
		LibraryName: "pair", FunctionName: "follow",
	})
	if err != nil {
		return err
	}
	pid, err := w.WaitForBackgroundWorkerStartup(ctx, follower)
	if err != nil {
		return err
	}
	w.Logf(elog.Log, "the follower is process %d", pid)
	return nil
}
