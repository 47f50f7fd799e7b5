package main

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
)

// What a worker waits for, as "pgexthost ps" shows it.
var (
	waitMain    = plugins.ExtensionWait("RetentionMain")    // for the next round
	waitRetry   = plugins.ExtensionWait("RetentionRetry")   // to try again for a lock
	waitStandby = plugins.ExtensionWait("RetentionStandby") // for the worker of another host to go away
)

// A worker without the lock looks again after firstStandby, twice that, and so
// on up to lastStandby: its predecessor may just be dead, with a session that the
// server is about to end. It asks rather than queues: a statement that waits
// holds a snapshot, and DETACH PARTITION CONCURRENTLY would wait for that.
const (
	firstStandby = 20 * time.Millisecond
	lastStandby  = 5 * time.Second
)

// main is retention_main. It runs until SIGTERM ends ctx. What cannot be helped
// by trying again with the same session is returned, and the host starts the
// worker again: everything it needs to know is in the database.
func (s *settings) main(ctx context.Context, w *plugins.Worker) error {
	if err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload); err != nil {
		return err
	}
	conn, err := connect.InitializeConnection(ctx, w, plugins.ExtraText(w.Entry()), s.role(), 0, sessionOptions()...)
	if err != nil {
		return err
	}
	m := newManager(conn, w.Ereport)
	m.before = s.before
	for {
		pause, event, err := s.turn(ctx, m)
		if err != nil {
			return err
		}
		_, err = w.WaitLatch(ctx, plugins.LatchSet|plugins.Timeout|plugins.ExitOnPostmasterDeath, pause, event)
		if err != nil {
			return err
		}
		w.ResetLatch()
		if w.ConfigReloadPending() {
			w.ProcessConfigFile()
		}
	}
}

// turn does what there is to do and says how long to wait then, and for what.
func (s *settings) turn(ctx context.Context, m *manager) (time.Duration, plugins.WaitEvent, error) {
	m.limits = s.limits()
	leads, err := m.lead(ctx)
	if err != nil {
		return 0, waitMain, err
	}
	if !leads {
		m.refused++
		return min(firstStandby<<min(m.refused-1, 20), lastStandby), waitStandby, nil
	}
	result, err := m.round(ctx)
	switch {
	case err != nil:
		return 0, waitMain, err
	case result.blocked > 0: // 1 s, 2 s, 4 s … up to a whole nap
		return min(s.naptime(), time.Second<<min(result.blocked-1, 20)), waitRetry, nil
	case result.more:
		return time.Millisecond, waitMain, nil
	}
	return s.naptime(), waitMain, nil
}

func (s *settings) limits() limits {
	return limits{
		lock:    s.lockTimeout(),
		hold:    s.holdTimeout(),
		batch:   s.batch(),
		logKeep: s.logKeep(),
		dryRun:  s.dryRun(),
	}
}

// sessionOptions make the session independent of what role and database have
// set: how values are written, where names are looked up, and that a policy of
// row-level security, which would hide rows, is an error instead.
func sessionOptions() []connect.Option {
	return []connect.Option{
		connect.WithSetting("search_path", "pg_catalog"),
		connect.WithSetting("TimeZone", "UTC"),
		connect.WithSetting("DateStyle", "ISO"),
		connect.WithSetting("row_security", "off"),
		connect.WithSetting("default_transaction_isolation", "read committed"),
		connect.WithSetting("default_transaction_read_only", "off"),
	}
}
