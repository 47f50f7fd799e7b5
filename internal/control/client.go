package control

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Client is a connection to the control server of a host. It is for one
// goroutine at a time.
type Client struct{ conn net.Conn }

// dialLimit is how long to look for a control server that is just starting.
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
			return nil, elog.New(elog.Error, elog.SQLClientUnableToConnect, "could not connect to socket \"%s\": %s", path, elog.OSReason(err)).WithCause(err)
		}
		time.Sleep(dialPause)
	}
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

// Do sends a request and returns the response. An error that the server
// reports is returned as such, with what else the response says. It returns the
// cause of ctx's end if that comes first; the client is of no use then.
func (c *Client) Do(ctx context.Context, r Request) (Response, error) {
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
	case err != nil:
		return response, elog.New(elog.Error, elog.ConnectionFailure, "lost connection to the host: %v", err).WithCause(err)
	}
	return response, nil
}

// Close closes the connection.
func (c *Client) Close() { _ = c.conn.Close() }
