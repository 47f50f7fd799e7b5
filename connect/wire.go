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
func prepareWire(config *pgx.ConnConfig, cancelRequests bool) *wire {
	w := &wire{dialer: net.Dialer{Timeout: config.ConnectTimeout, KeepAliveConfig: keepAlive}}
	config.DialFunc = w.dial
	config.BuildFrontend = func(in io.Reader, out io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(lossReader{w, in}, lastWordWriter{w, out})
	}
	if cancelRequests {
		config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelGrace}
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
	dialer net.Dialer

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

// lossReader marks losses, since pgx hands on what the network says, which
// nobody could tell from an error of another connection that the plugin has.
type lossReader struct {
	wire *wire
	in   io.Reader
}

func (l lossReader) Read(p []byte) (int, error) {
	n, err := l.in.Read(p)
	return n, l.wire.mark(err)
}

// lastWordWriter does not report that the server has closed the connection:
// the read that follows does, after the server's last message, which says why.
// Libpq does the same.
type lastWordWriter struct {
	wire *wire
	out  io.Writer
}

func (l lastWordWriter) Write(p []byte) (int, error) {
	n, err := l.out.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return len(p), nil
	}
	return n, l.wire.mark(err)
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
