package queue

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
)

var waitEvent = plugins.ExtensionWait("QueueMain")

// consumer is a worker of the queue. Its goroutine owns the session.
type consumer struct {
	*library
	worker *plugins.Worker
	conn   *connect.Conn
	name   string // as claimed_by has it
	batch  int    // how many jobs to claim next
}

// main is queue_main, the main function of every worker of the library.
func (l *library) main(ctx context.Context, w *plugins.Worker) error {
	if err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload); err != nil {
		return err
	}
	// SKIP LOCKED and the guards of job.go rely on seeing what others have
	// committed meanwhile.
	conn, err := connect.InitializeConnection(ctx, w, l.database(), l.role(), 0,
		connect.WithSetting("default_transaction_isolation", "read committed"))
	if err != nil {
		return err
	}
	if err := upgradeSchema(ctx, conn); err != nil {
		return err
	}
	// Before the first look at the table, so that no job falls in between.
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	// From here on SIGTERM ends the worker between two jobs.
	if err := w.HandleSignal(unix.SIGTERM, l.dieAfterJob); err != nil {
		return err
	}
	c := &consumer{library: l, worker: w, conn: conn, name: w.Entry().Name, batch: 1}
	return c.serve(ctx)
}

// dieAfterJob is the handler of SIGTERM: serve looks at the request between two
// jobs. If the one in hand takes too long, the worker dies as any other does:
// ctx ends, the statement is cancelled, and the transaction rolled back.
func (l *library) dieAfterJob(w *plugins.Worker) {
	plugins.SignalHandlerForShutdownRequest(w)
	time.AfterFunc(l.stopTimeout(), func() { plugins.Die(w) })
}

// serve does jobs until the worker has to end.
func (c *consumer) serve(ctx context.Context) error {
	for {
		if c.worker.ShutdownRequestPending() {
			plugins.Die(c.worker) // the FATAL line, and exit code 1
			return context.Cause(ctx)
		}
		if c.worker.ConfigReloadPending() {
			c.worker.ProcessConfigFile()
		}
		c.dropNotifications()
		jobs, err := c.claim(ctx)
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := c.doAll(ctx, jobs); err != nil {
			return err
		}
		c.adaptBatch(len(jobs), time.Since(begin))
		if len(jobs) > 0 {
			continue
		}
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
}

// shortBatch is how long a batch should take at most: what it holds, no other
// worker can do meanwhile.
const shortBatch = 100 * time.Millisecond

// adaptBatch makes batches of jobs that are quickly done, where a claim each
// would cost more than the job, and of no others.
func (c *consumer) adaptBatch(jobs int, took time.Duration) {
	switch {
	case took > shortBatch:
		c.batch = 1
	case jobs == c.batch && took < shortBatch/2:
		c.batch *= 2
	}
	c.batch = min(c.batch, c.batchSize())
}

// wait returns when there may be something to do: at a notification, when the
// next job is due, after the poll interval, at a signal.
//
// The session waits for the notification on a goroutine of its own, so that
// this one can wait for its latch, as a worker always does: it is woken by
// signals, ends with the host, and "pgexthost ps" shows what it waits for.
func (c *consumer) wait(ctx context.Context) error {
	pause, err := c.untilNextDue(ctx)
	if err != nil {
		return err
	}
	listening, stop := context.WithCancel(ctx)
	heard := make(chan error, 1)
	go func() {
		_, err := c.conn.WaitForNotification(listening)
		heard <- err
		c.worker.SetLatch()
	}()
	_, err = c.worker.WaitLatch(ctx, plugins.LatchSet|plugins.Timeout|plugins.ExitOnPostmasterDeath, pause, waitEvent)
	c.worker.ResetLatch()
	stop()
	lost := <-heard // from here on the session is this goroutine's again
	if err == nil && c.conn.IsClosed() {
		err = lost
	}
	return err
}

// untilNextDue returns how long to wait at most.
func (c *consumer) untilNextDue(ctx context.Context) (time.Duration, error) {
	pause := c.pollInterval()
	var seconds *float64
	if err := c.conn.QueryRow(ctx, nextDueSQL).Scan(&seconds); err != nil {
		return 0, err
	}
	if seconds != nil && *seconds < pause.Seconds() {
		pause = max(time.Millisecond, time.Duration(*seconds*float64(time.Second)))
	}
	return pause, nil
}

// nextDueSQL returns in how many seconds it is worth looking, or null. A job
// that is due already is in somebody's hands, who should be left in peace.
const nextDueSQL = `SELECT extract(epoch FROM least(
	(SELECT min(run_at) FROM queue.job WHERE run_at > now()),
	(SELECT now() + interval '1 second' FROM queue.job WHERE run_at <= now() LIMIT 1)
) - now())::float8`

// dropNotifications forgets what the session has heard while it did jobs: the
// claim that follows sees all that.
func (c *consumer) dropNotifications() {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		if _, err := c.conn.WaitForNotification(over); err != nil {
			return // there is none left
		}
	}
}
