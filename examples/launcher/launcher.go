package launcher

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

var launcherWait = plugins.ExtensionWait("AnalyzerLauncherMain")

// launcher is the launcher's process.
type launcher struct {
	*library
	worker *plugins.Worker
	conn   *connect.Conn
	short  bool // the log knows that there are not enough slots
}

// launcherMain is analyzer_launcher_main. It runs until SIGTERM ends ctx; the
// workers run on then, as they do if it is killed.
func (l *library) launcherMain(ctx context.Context, w *plugins.Worker) error {
	if err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload); err != nil {
		return err
	}
	conn, err := connect.InitializeConnection(ctx, w, "", "", 0)
	if err != nil {
		return err
	}
	launcher := &launcher{library: l, worker: w, conn: conn}
	for {
		if err := launcher.round(ctx); err != nil {
			return err
		}
		if err := l.nap(ctx, w, launcherWait); err != nil {
			return err
		}
	}
}

// nap waits for the next round, and reads the settings again if they may have
// changed.
func (l *library) nap(ctx context.Context, w *plugins.Worker, event plugins.WaitEvent) error {
	_, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.Timeout|plugins.ExitOnPostmasterDeath, l.naptime(), event)
	if err != nil {
		return err
	}
	w.ResetLatch()
	if w.ConfigReloadPending() {
		w.ProcessConfigFile()
	}
	return nil
}

// round makes the workers what the databases ask for.
func (l *launcher) round(ctx context.Context) error {
	wanted, err := l.databases(ctx, l.conn)
	if err != nil {
		return err
	}
	start, stop := plan(wanted, l.worker.BackgroundWorkers())
	for _, w := range stop {
		if err := l.worker.TerminateBackgroundWorker(w.Handle); err != nil {
			return err
		}
	}
	for i, d := range start {
		err := l.start(d)
		if errors.Is(err, plugins.ErrNoSlot) {
			l.reportShortage(start[i:])
			return nil // the next round tries again
		}
		if err != nil {
			return err
		}
	}
	if l.short {
		l.short = false
		l.worker.Logf(elog.Log, "every database has its analyzer again")
	}
	return nil
}

func (l *launcher) start(d database) error {
	w, err := workerFor(d)
	if err != nil {
		return err
	}
	_, err = l.worker.RegisterDynamicBackgroundWorker(w)
	return err
}

// reportShortage logs, once until it is over, that there are too few slots.
func (l *launcher) reportShortage(without []database) {
	if l.short {
		return
	}
	l.short = true
	l.worker.Ereport(elog.New(elog.Warning, elog.ConfigurationLimitExceeded, "no analyzer for database \"%s\": out of background worker slots", without[0].name).
		WithDetail("Databases without one: %d. They get theirs as soon as there is room.", len(without)).
		WithHint("Consider increasing the configuration parameter \"max_worker_processes\", or excluding databases by \"analyzer.exclude\"."))
}
