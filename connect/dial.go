package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Raw is a connection to the server on which nothing has been said yet but what
// TLS takes: the start-up packet is its next message.
type Raw struct {
	net.Conn

	Address string // as dialled: a path, or host and port
	TLS     bool
}

// errDialled ends pgx's attempt to connect where ours begins.
var errDialled = errors.New("dialled")

// Dial connects to the server as Open does, host by host, with TLS as the
// settings ask for it, but opens no session: who that will be for is the caller's
// to say. Roles and target_session_attrs, which only a session can tell, play no
// part.
//
// If ctx is cancelled, Dial returns its cause. Any other error is an
// *elog.ErrorData with level FATAL, 08001 "could not connect to server: …".
func (c *Config) Dial(ctx context.Context) (*Raw, error) {
	return c.dialAt(ctx, func(string) bool { return true })
}

// DialAt is Dial, but for no other host than that with the Address of a Raw.
func (c *Config) DialAt(ctx context.Context, address string) (*Raw, error) {
	return c.dialAt(ctx, func(a string) bool { return a == address })
}

// errElsewhere is why a host is left out.
var errElsewhere = errors.New("the session is with another host")

func (c *Config) dialAt(ctx context.Context, is func(address string) bool) (*Raw, error) {
	config := c.pgx.Copy()
	dialer := net.Dialer{Timeout: config.ConnectTimeout, KeepAliveConfig: keepAlive}
	var raw Raw
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		switch {
		case raw.Conn != nil:
			return nil, errDialled // pgx goes on to the next host all the same
		case !is(address):
			return nil, errElsewhere
		}
		raw.Address = address
		return dialer.DialContext(ctx, network, address)
	}
	attempts, dialled := context.WithCancel(ctx)
	defer dialled()
	config.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) {
		raw.Conn = conn
		_, raw.TLS = conn.(*tls.Conn)
		dialled() // no other host is to be tried
		return kept{conn}, errDialled
	}
	unexpected, err := pgx.ConnectConfig(attempts, config)
	switch {
	case raw.Conn != nil:
		return &raw, nil
	case err != nil:
		return nil, c.openError(ctx, err)
	}
	_ = unexpected.Close(ctx)
	return nil, unexpectedAnswer()
}

// kept is a connection that pgx must leave open.
type kept struct{ net.Conn }

func (kept) Close() error { return nil }
