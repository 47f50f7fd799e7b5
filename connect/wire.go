package connect

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgproto3"
)

// keepAlive notices a server that vanished without a word after 75 seconds.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4}

// prepareWire sets what of the configuration concerns the socket: who dials,
// what the end of a context does, and how a lost connection is told from other
// errors.
func prepareWire(config *pgx.ConnConfig) *wire {
	w := &wire{dialer: net.Dialer{Timeout: config.ConnectTimeout, KeepAliveConfig: keepAlive}}
	config.DialFunc = w.dial
	config.BuildFrontend = func(in io.Reader, out io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(lossReader{w, in}, lastWordWriter{w, out})
	}
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &interrupter{
			wire:      w,
			statement: &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelGrace},
			listening: &pgconn.DeadlineContextWatcherHandler{Conn: c.Conn()},
		}
	}
	// pgx looks at the translated severity here.
	config.OnPgError = func(_ *pgconn.PgConn, e *pgconn.PgError) bool { return !endsSession(e) }
	return w
}

// wire is what lies below a session. It dials hosts in turn until the session
// is open, and from then on the host of that session only. Cancel requests need
// that: pgx sends them to the first socket directory of several, whichever the
// session is with.
type wire struct {
	dialer    net.Dialer
	listening atomic.Bool // the session waits for notifications, and runs nothing

	mu               sync.Mutex
	pinned           bool
	network, address string
	lost             *lostConnection // the first loss since
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	if w.pinned {
		network, address = w.network, w.address
	} else {
		w.network, w.address = network, address
	}
	w.mu.Unlock()
	return w.dialer.DialContext(ctx, network, address)
}

// pin says that the session is with the host dialled last, and returns its
// address.
func (w *wire) pin() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pinned, w.lost = true, nil
	return w.address
}

// explain replaces "conn closed", which is all that pgx has to say in places
// about a connection just lost, by the loss itself.
func (w *wire) explain(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost != nil && errors.Is(err, pgconn.ErrConnClosed) {
		return w.lost
	}
	return err
}

// mark marks an error that means the loss of the connection. It leaves the
// deadlines alone by which pgx interrupts a read.
func (w *wire) mark(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	loss := &lostConnection{err}
	if w.lost == nil {
		w.lost = loss
	}
	return loss
}
