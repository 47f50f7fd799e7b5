package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// session is one client's, from its start-up packet on.
type session struct {
	gateway *gateway
	startup *startup
	nonce   string // known to the server's session and to us
	own     bool   // the client is the user who runs the host

	client net.Conn
	sink   *sink // below client
	server *connect.Raw
	key    cancelKey

	traffic traffic
	down    *pump
	ended   chan struct{} // closed when the server's session is gone
	calls   Caller        // of the host's functions; nil where there is no SQL

	mu         sync.Mutex
	parameters map[string]string // what the server reports: encodings and the like
	reason     *elog.ErrorData   // why the statement in progress was cancelled, if we did that

	// The up goroutine's: which settings the server's session has been told of.
	seen *announced
	told map[string]string
	// Likewise: whether names can be redirected, as it was last found.
	redirects bool
}

// serve serves one client that has connected, until it leaves or is told to.
func (g *gateway) serve(ctx context.Context, conn rawConn, hasRoom bool) {
	defer conn.Close()
	below, err := newSink(conn)
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetReadDeadline(longAgo)
		_ = conn.SetWriteDeadline(time.Now().Add(refuseTime))
	})
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(g.settings().authenticationTimeout))
	o, err := g.readOpening(below)
	switch {
	case err != nil:
		g.refuse(o.conn, below, err)
	case o.cancel != nil:
		g.cancel(ctx, *o.cancel)
	case !hasRoom:
		g.refuse(o.conn, below, elog.New(elog.Fatal, elog.TooManyConnections, "sorry, too many clients already").
			WithHint("Raise \"max_connections\" of the extension host."))
	default:
		s := &session{
			gateway: g, startup: o.startup, client: o.conn, sink: below, nonce: newNonce(), own: isOwnUser(conn),
			ended: make(chan struct{}), parameters: make(map[string]string),
		}
		if err := s.run(ctx); err != nil {
			g.refuse(s.client, below, err)
		}
	}
}

// longAgo is a deadline that is over.
var longAgo = time.Unix(1, 0)

func newNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// refuseTime is how long a client may take to read why it is refused.
const refuseTime = time.Second

// refuse tells a client why there is no session, or none any more.
func (g *gateway) refuse(client net.Conn, below *sink, err error) {
	var told *elog.ErrorData
	var network net.Error
	switch {
	case errors.As(err, &told):
	case errors.As(err, &network) && network.Timeout() && g.stopping():
		told = elog.New(elog.Fatal, elog.AdminShutdown, "terminating connection due to administrator command")
	case errors.As(err, &network) && network.Timeout():
		told = elog.New(elog.Fatal, elog.QueryCanceled, "canceling authentication due to timeout")
	default:
		return // it has left
	}
	told.Level = elog.Fatal
	if told.Code != elog.AdminShutdown {
		g.log(told)
	}
	if client == nil {
		return
	}
	_ = below.SetDeadline(time.Now().Add(refuseTime))
	_, _ = client.Write(encodeError(told))
	below.finish()
}

// run opens the server's session for the client, and passes on messages until one
// of the two has gone. A nil error means that nothing is left to be said.
func (s *session) run(ctx context.Context) error {
	s.announce()
	dialCtx, cancel := context.WithTimeout(ctx, s.gateway.settings().authenticationTimeout)
	server, err := s.gateway.dial(dialCtx)
	cancel()
	if err != nil {
		return err
	}
	s.server = server
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { _ = server.SetReadDeadline(longAgo) })
	defer stop()
	_ = server.SetDeadline(time.Now().Add(s.gateway.settings().authenticationTimeout))
	if _, err := server.Write(s.startup.encode()); err != nil {
		return serverLost(err)
	}
	a := &authentication{client: s.client, server: server, serverTLS: server.TLS, own: s.own}
	if refused, err := a.run(); refused || err != nil {
		s.sink.finish()
		return err
	}
	return s.relay(ctx)
}

func serverLost(err error) error {
	return elog.New(elog.Fatal, elog.ConnectionFailure, "the extension host's gateway has lost its connection to the server: %v", err)
}

// relay passes on messages both ways. It returns when the server has closed the
// session, or the client is gone.
func (s *session) relay(ctx context.Context) error {
	deadline := time.Time{}
	_ = s.sink.SetDeadline(deadline)
	_ = s.server.SetDeadline(deadline)
	if ctx.Err() != nil { // its deadline may have been the one that is lifted now
		return elog.New(elog.Fatal, elog.AdminShutdown, "terminating connection due to administrator command")
	}
	s.attach()
	defer s.detach()
	var both sync.WaitGroup
	both.Go(func() { s.passUp(ctx) })
	err := s.passDown()
	close(s.ended)
	s.sink.finishWithin(refuseTime)
	if ctx.Err() != nil && !s.traffic.quiet() {
		s.cancelStatement()
	}
	_ = s.server.Close()
	if ctx.Err() != nil {
		_ = s.sink.SetReadDeadline(longAgo)
		both.Wait()
		return elog.New(elog.Fatal, elog.AdminShutdown, "terminating connection due to administrator command")
	}
	_ = s.sink.Close()
	both.Wait()
	return err
}

// passUp passes on what the client says. When it says no more, neither does the
// server's session hear more, which ends when it has done what it was told.
func (s *session) passUp(ctx context.Context) {
	up := newPump(s.client, s.server, &wantedOfClient, (&upward{session: s}).examine)
	err := up.run()
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, errNotProtocol) {
		_, _ = s.client.Write(encodeError(elog.New(elog.Fatal, elog.ProtocolViolation, "invalid message length")))
		_ = s.server.Close()
		return
	}
	if s.traffic.waits() {
		s.cancelStatement() // it waits for an answer that nobody wants
	}
	if half, ok := s.server.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// passDown passes on what the server says, until it says no more.
func (s *session) passDown() error {
	err := s.down.run()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if errors.Is(err, errNotProtocol) {
		return elog.New(elog.Fatal, elog.ProtocolViolation, "received invalid message from the server")
	}
	return nil // one of the two is gone; to the client there is nothing to be said that it could take for the server's
}
