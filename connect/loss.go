package connect

import (
	"errors"
	"io"
	"syscall"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// lossReader marks losses, since pgx hands on what the network says, which
// nobody could tell from an error of another connection that the plugin has.
type lossReader struct {
	wire *wire
	in   io.Reader
}

func (l lossReader) Read(p []byte) (int, error) {
	n, err := l.in.Read(p)
	if l.wire.tooMuch(n) {
		return 0, errTooMuch
	}
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
	l.wire.received.Store(0)
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
