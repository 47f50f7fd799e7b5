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
// what the end of a context does, how much the server may send, and how a lost
// connection is told from other errors. A probe's limit is 0 for other sessions.
func prepareWire(config *pgx.ConnConfig, probe time.Duration) *wire {
	if probe > 0 && config.ConnectTimeout == 0 {
		config.ConnectTimeout = probe
	}
	w := &wire{dialer: net.Dialer{Timeout: config.ConnectTimeout, KeepAliveConfig: keepAlive}, probe: probe > 0}
	config.DialFunc = w.dial
	config.MaxProtocolMessageBodyLen = longestMessage
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
	if probe > 0 {
		config.LookupFunc = limitLookup(config.LookupFunc, probe)
	}
	if config.ValidateConnect != nil {
		config.ValidateConnect = withoutPanic(config.ValidateConnect)
	}
	return w
}

func limitLookup(lookup pgconn.LookupFunc, limit time.Duration) pgconn.LookupFunc {
	return func(ctx context.Context, host string) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return lookup(ctx, host)
	}
}

// withoutPanic is for pgx's checks of target_session_attrs, which take what
// they need from the answer without a look at its shape.
func withoutPanic(validate pgconn.ValidateConnectFunc) pgconn.ValidateConnectFunc {
	return func(ctx context.Context, c *pgconn.PgConn) (err error) {
		defer func() {
			if recover() != nil {
				err = unexpectedAnswer()
			}
		}()
		return validate(ctx, c)
	}
}

// wire is what lies below a session. It dials hosts in turn until the session
// is open, and from then on the host of that session only. Cancel requests need
// that: pgx sends them to the first socket directory of several, whichever the
// session is with.
type wire struct {
	dialer    net.Dialer
	probe     bool
	listening atomic.Bool // the session waits for notifications, and runs nothing
	trusted   atomic.Bool // the server may send as much as it likes
	received  atomic.Int64

	mu               sync.Mutex
	pinned           bool
	network, address string
	lost             *lostConnection // the first loss since
}

// openingKey marks the contexts of attempts to open a session.
type openingKey struct{}

func opening(ctx context.Context) context.Context { return context.WithValue(ctx, openingKey{}, true) }

// errNoCancel is why there is no cancel request: a probe sends none, and pgx
// would send one even for a session that never came to be.
var errNoCancel = errors.New("there is nothing to cancel")

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	switch {
	case ctx.Value(openingKey{}) != nil:
		w.network, w.address = network, address
	case w.probe || !w.pinned:
		w.mu.Unlock()
		return nil, errNoCancel
	default:
		network, address = w.network, w.address
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
// deadlines alone by which pgx interrupts a read, and reads from a socket that
// we have closed ourselves.
func (w *wire) mark(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
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
