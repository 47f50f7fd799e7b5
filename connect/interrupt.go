package connect

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/pgexthost/pgexthost/shmem"
)

// cancelGrace is how long a statement whose context has ended may take to be
// cancelled by the server before the socket is dropped. With the roll-back that
// follows it stays below the time a worker has after SIGTERM.
const cancelGrace = 2 * time.Second

// interrupter says what the end of a context does to an exchange with the
// server: a statement is cancelled by a cancel request, a wait for notifications
// just ends, since there is nothing to cancel, and so does a probe's statement.
type interrupter struct {
	wire                 *wire
	statement, listening ctxwatch.Handler
	chosen               ctxwatch.Handler
}

// HandleCancel is called when the context ends.
func (i *interrupter) HandleCancel(ctx context.Context) {
	i.chosen = i.statement
	if i.wire.listening.Load() || i.wire.probe {
		i.chosen = i.listening
	}
	i.chosen.HandleCancel(ctx)
}

// HandleUnwatchAfterCancel is called when the exchange is over after that.
func (i *interrupter) HandleUnwatchAfterCancel() { i.chosen.HandleUnwatchAfterCancel() }

// WaitForNotification waits for a notification of a channel that the session
// listens to. When ctx ends it returns at once, and the session goes on: unlike
// a statement, the wait needs no answer of the server.
func (c *Conn) WaitForNotification(ctx context.Context) (*pgconn.Notification, error) {
	c.wire.listening.Store(true)
	defer c.wire.listening.Store(false)
	if c.watch != nil {
		watched, end := c.watchWait(ctx)
		defer end()
		ctx = watched
	}
	return c.Conn.WaitForNotification(ctx)
}

// watchWait tells the test that the worker runs in of a wait, and lets it end the
// wait as the end of ctx would.
func (c *Conn) watchWait(ctx context.Context) (watched context.Context, end func()) {
	watched, cancel := context.WithCancel(ctx)
	_, timed := ctx.Deadline()
	over := func() bool { return ctx.Err() != nil }
	wait := c.watch.Begin(shmem.WaitEvent{Class: shmem.WaitClassClient, Name: "WaitForNotification"}, timed, over, cancel)
	wait.Sleeps()
	return watched, func() {
		wait.End()
		cancel()
	}
}
