package control

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Client is a connection to the control server of a host. It is for one
// goroutine at a time.
type Client struct{ conn net.Conn }

// dialLimit is how long to look for a control server that is just starting, and
// dialPause how often.
const (
	dialLimit = 5 * time.Second
	dialPause = 20 * time.Millisecond
)

// Dial connects to the host of a data directory. The error is an
// *elog.ErrorData. The server of a host that has just started may not be there
// yet, and is waited for.
func Dial(ctx context.Context, dataDir string) (*Client, error) {
	path := filepath.Join(dataDir, SocketName)
	deadline := time.Now().Add(dialLimit)
	for {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "unix", path)
		switch {
		case err == nil:
			return &Client{conn}, nil
		case !isRunning(dataDir):
			return nil, elog.New(elog.Error, elog.ConnectionFailure, "no server running").
				WithDetail("There is no host in data directory \"%s\".", dataDir).
				WithHint("Start it with \"pgexthost start -D %s\".", dataDir)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ECONNREFUSED), ctx.Err() != nil, time.Now().After(deadline):
			return nil, unreachable(path, err)
		}
		select {
		case <-time.After(dialPause):
		case <-ctx.Done(): // the next attempt says so
		}
	}
}

// unreachable says that a host runs, but nobody listens at its socket.
func unreachable(path string, err error) error {
	report := elog.New(elog.Error, elog.SQLClientUnableToConnect, "could not connect to socket \"%s\": %s", path, elog.OSReason(err)).WithCause(err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return report.WithDetail("The host runs, but its socket has been removed.").
			WithHint("End the process \"pgexthost: %s\" with SIGTERM: the host starts another, which makes the socket anew.", ServerName)
	case errors.Is(err, unix.ECONNREFUSED):
		return report.WithDetail("The host runs, but its %s does not.", ServerName).WithHint("The log of the host says why.")
	}
	return report
}

func isRunning(dataDir string) bool {
	c, err := lockfile.Read(dataDir)
	if err != nil {
		return false
	}
	p, err := c.Holder()
	if err != nil {
		return false
	}
	p.Close()
	return true
}

// answerLimit is how long a request may take that does not wait for anything.
const answerLimit = 30 * time.Second

// Do sends a request and returns the response. An error that the server
// reports is returned as such, with what else the response says. It returns the
// cause of ctx's end if that comes first, and an *elog.ErrorData if a request
// that does not wait has no response within 30 s; the client is of no use then.
func (c *Client) Do(ctx context.Context, r Request) (Response, error) {
	return c.do(ctx, r, answerLimit)
}

func (c *Client) do(ctx context.Context, r Request, limit time.Duration) (Response, error) {
	deadline := time.Now().Add(limit)
	if r.Wait {
		deadline = time.Time{}
	}
	_ = c.conn.SetDeadline(deadline)
	defer context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })()
	var response Response
	err := handshake.Write(c.conn, r)
	if err == nil {
		err = handshake.Read(c.conn, &response)
	}
	switch {
	case err == nil && response.Error != nil:
		return response, response.Error
	case err != nil && ctx.Err() != nil:
		return response, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return response, c.silent(limit).WithCause(err)
	case err != nil:
		return response, lost(err)
	}
	return response, nil
}

// silent says that the server does not answer: it is stopped, for instance.
func (c *Client) silent(limit time.Duration) *elog.ErrorData {
	report := elog.New(elog.Error, elog.ConnectionFailure, "the %s of the host has not answered within %d s", ServerName, int(limit.Seconds()))
	if pid := c.serverPid(); pid > 0 {
		return report.WithHint("If it hangs, end it with \"pgexthost kill KILL %d\": the host starts another.", pid)
	}
	return report
}

// serverPid is the process at the other end, or 0 if that can't be told here.
func (c *Client) serverPid() (pid int) {
	raw, err := c.conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if peer, _, err := peerOf(fd); err == nil {
			pid = peer
		}
	})
	return pid
}

// IsHangUp reports whether an error of Do means that the server has hung up: the
// host was stopped, or the server has ended and another takes its place.
func IsHangUp(err error) bool {
	ends := []error{io.EOF, io.ErrUnexpectedEOF, unix.ECONNRESET, unix.EPIPE}
	return slices.ContainsFunc(ends, func(end error) bool { return errors.Is(err, end) })
}

// lost says that the server has hung up, as it does when the host is stopped.
func lost(err error) error {
	if IsHangUp(err) {
		return elog.New(elog.Error, elog.ConnectionFailure, "the host closed the connection unexpectedly").
			WithDetail("It has been stopped, recovers from the crash of a worker, or its %s has ended, before or while processing the request.", ServerName).
			WithHint("The log of the host says more.").WithCause(err)
	}
	return elog.New(elog.Error, elog.ConnectionFailure, "lost connection to the host: %s", elog.OSReason(err)).WithCause(err)
}

// Close closes the connection.
func (c *Client) Close() { _ = c.conn.Close() }
