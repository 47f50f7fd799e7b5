package connect

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// cancelGrace is how long a statement whose context has ended may take to be
// cancelled by the server before the socket is dropped. With the roll-back that
// follows it stays below the time a worker has after SIGTERM.
const cancelGrace = 2 * time.Second

// keepAlive notices a server that vanished without a word after 75 seconds.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4}

// prepareWire sets what of the configuration concerns the socket: who dials,
// what the end of a context does, and how a lost connection is told from other
// errors.
func prepareWire(config *pgx.ConnConfig, cancelRequests bool) *dialer {
	d := &dialer{net: net.Dialer{Timeout: config.ConnectTimeout, KeepAliveConfig: keepAlive}}
	config.DialFunc = d.dial
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(lossReader{r}, lastWordWriter{w})
	}
	if cancelRequests {
		config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelGrace}
		}
	}
	// pgx looks at the translated severity here.
	config.OnPgError = func(_ *pgconn.PgConn, e *pgconn.PgError) bool { return !endsSession(e) }
	return d
}

// dialer dials hosts in turn until a session is open, and from then on the host
// of that session only. Cancel requests need that: pgx sends them to the first
// socket directory of several, whichever the session is with.
type dialer struct {
	net net.Dialer

	mu               sync.Mutex
	pinned           bool
	network, address string
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	if d.pinned {
		network, address = d.network, d.address
	} else {
		d.network, d.address = network, address
	}
	d.mu.Unlock()
	return d.net.DialContext(ctx, network, address)
}

// pin says that the session is with the host dialled last, and returns its
// address.
func (d *dialer) pin() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pinned = true
	return d.address
}

// lossReader marks the errors that mean the loss of the connection, since pgx
// hands on what the network says, which nobody could tell from an error of
// another connection that the plugin has.
type lossReader struct{ r io.Reader }

func (l lossReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	return n, markLoss(err)
}

// lastWordWriter does not report that the server has closed the connection:
// the read that follows does, after the server's last message, which says why.
// Libpq does the same.
type lastWordWriter struct{ w io.Writer }

func (l lastWordWriter) Write(p []byte) (int, error) {
	n, err := l.w.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return len(p), nil
	}
	return n, markLoss(err)
}

// markLoss leaves the deadlines alone by which pgx interrupts a read.
func markLoss(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return &lostConnection{err}
}

// lostConnection is a connection that broke. It is a net.Error that is no
// time-out, which keeps pgx from using the connection further, even if the
// cause was a time-out of TCP.
type lostConnection struct{ cause error }

func (l *lostConnection) Error() string {
	if errors.Is(l.cause, io.EOF) || errors.Is(l.cause, io.ErrUnexpectedEOF) || errors.Is(l.cause, syscall.ECONNRESET) {
		return "server closed the connection unexpectedly"
	}
	return "lost the connection to the server: " + innermost(l.cause).Error()
}

func (l *lostConnection) Unwrap() error    { return l.cause }
func (l *lostConnection) SQLState() string { return string(elog.ConnectionFailure) }
func (l *lostConnection) Timeout() bool    { return false }
func (l *lostConnection) Temporary() bool  { return false }

// innermost returns the end of a chain of errors: the system's own words,
// without addresses.
func innermost(err error) error {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err
}
