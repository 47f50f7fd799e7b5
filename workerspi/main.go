package workerspi

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// main is worker_spi_main, the main function of every worker of the library. It
// runs until SIGTERM ends ctx, and then returns what WaitLatch or the statement
// in progress makes of it.
func (l *library) main(ctx context.Context, w *plugins.Worker) error {
	// Without this, SIGHUP would be ignored.
	if err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload); err != nil {
		return err
	}
	conn, err := l.connect(ctx, w)
	if err != nil {
		return err
	}
	name, t := w.Entry().Name, tableOf(w.Entry().MainArg)
	if err := t.create(ctx, conn); err != nil {
		return err
	}
	w.Logf(elog.Log, "%s initialized with %s.%s", name, t.schema, t.name)

	for {
		// A worker never just sleeps: waiting for its latch, it is woken by
		// signals and ends with the host.
		naptime := time.Duration(l.naptime()) * time.Second
		_, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.Timeout|plugins.ExitOnPostmasterDeath, naptime, waitEvent)
		if err != nil {
			return err
		}
		w.ResetLatch()
		if w.ConfigReloadPending() {
			w.ProcessConfigFile()
		}
		total, err := t.count(ctx, conn)
		if err != nil {
			return err
		}
		if total != nil {
			w.Logf(elog.Log, "%s: count in %s.%s is now %d", name, t.schema, t.name, *total)
		}
	}
}

var waitEvent = plugins.ExtensionWait("WorkerSpiMain")

// connect opens the worker's session: with the database and role it was
// registered with, if it was registered dynamically, else as the settings say.
func (l *library) connect(ctx context.Context, w *plugins.Worker) (*connect.Conn, error) {
	extra := DecodeExtra(w.Entry().Extra)
	if extra.Database != 0 {
		return connect.InitializeConnectionByOID(ctx, w, extra.Database, extra.Role, extra.Flags)
	}
	return connect.InitializeConnection(ctx, w, l.database(), l.role(), extra.Flags)
}
