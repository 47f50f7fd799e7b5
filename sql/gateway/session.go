package gateway

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
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
	login  string // the host's user, whose session it would be without the client's word
	key    cancelKey

	traffic traffic
	down    *pump
	ended   chan struct{} // closed when the server's session is gone
	calls   Caller        // of the host's functions; nil where there is no SQL
	counted bool          // it is one of the crowd; the down goroutine's

	mu         sync.Mutex
	parameters map[string]string // what the server reports: encodings and the like
	reason     *elog.ErrorData   // why the statement in progress was cancelled, if we did that
	failing    sync.WaitGroup    // holds the cancel requests for that

	// The up goroutine's: which settings the server's session has been told of.
	seen *announced
	told map[string]string
	// What it was told of at its beginning, and gets back by RESET ALL; and whether
	// it may have.
	first map[string]string
	reset atomic.Bool
	// Likewise: whether names can be redirected, as it was last found, and whether
	// that was asked at all; and the error that what was asked for a statement has
	// met, in the place of the statement.
	redirects, asked bool
	failure          []byte
}

// serve serves one client that has connected, until it leaves or is told to.
func (g *gateway) serve(ctx context.Context, conn rawConn, hasRoom bool) {
	defer conn.Close()
	below, err := newSink(conn)
	if err != nil {
		return
	}
	limit := time.Now().Add(g.settings().authenticationTimeout)
	_ = conn.SetDeadline(limit)
	defer context.AfterFunc(ctx, func() {
		_ = conn.SetReadDeadline(longAgo)
		_ = conn.SetWriteDeadline(time.Now().Add(refuseTime))
	})()
	o, err := g.readOpening(below)
	switch {
	case err != nil:
		g.refuse(o.conn, below, err)
	case o.cancel != nil:
		g.cancel(ctx, *o.cancel)
	case g.worker.RefusesSessions():
		g.refuse(o.conn, below, shuttingDown())
	case !hasRoom:
		g.refuse(o.conn, below, elog.New(elog.Fatal, elog.TooManyConnections, "sorry, too many clients already").
			WithHint("Raise \"max_connections\" of the extension host."))
	default:
		s := &session{
			gateway: g, startup: o.startup, client: o.conn, sink: below, nonce: newNonce(), own: isOwnUser(conn),
			ended: make(chan struct{}), parameters: make(map[string]string),
		}
		if err := s.run(ctx, limit); err != nil {
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

// refuse tells a client why there is no session, or none any more. An error of
// level LOG is not for the client.
func (g *gateway) refuse(client net.Conn, below *sink, err error) {
	var told *elog.ErrorData
	var network net.Error
	switch {
	case errors.As(err, &told):
	case g.stopping() && (errors.Is(err, context.Canceled) || errors.As(err, &network) && network.Timeout()):
		told = adminShutdown()
	case errors.As(err, &network) && network.Timeout():
		told = elog.New(elog.Fatal, elog.QueryCanceled, "canceling authentication due to timeout")
	default:
		return // it has left
	}
	if told.Code != elog.AdminShutdown {
		g.log(told)
	}
	if told.Level == elog.Log {
		return
	}
	final := *told
	final.Level = elog.Fatal
	message := encodeError(&final)
	if old, ok := errors.AsType[bygone](err); ok {
		message = old.encode()
	}
	_ = below.SetDeadline(time.Now().Add(refuseTime))
	_, _ = client.Write(message)
	hangUp(client, below)
}

// hangUp sees to it that the client gets what was written for it, and, with TLS, the
// word that this was all.
func hangUp(client net.Conn, below *sink) {
	if encrypted, ok := client.(*tls.Conn); ok {
		_ = encrypted.CloseWrite()
	}
	below.finish()
}

// run opens the server's session for the client, and passes on messages until one
// of the two has gone. A nil error means that nothing is left to be said. All has
// to be ready by limit.
func (s *session) run(ctx context.Context, limit time.Time) error {
	s.announce()
	dialCtx, cancel := context.WithDeadline(ctx, limit)
	server, login, err := s.gateway.dial(dialCtx)
	cancel()
	if err != nil {
		return err
	}
	s.server, s.login = server, login
	defer server.Close()
	_ = server.SetDeadline(limit)
	defer context.AfterFunc(ctx, func() { _ = server.SetReadDeadline(longAgo) })()
	if _, err := server.Write(s.startup.encode()); err != nil {
		return serverLost(err)
	}
	a := &authentication{client: s.client, server: server, serverTLS: server.TLS, own: s.own}
	if refused, err := a.run(); err != nil {
		return err
	} else if refused {
		hangUp(s.client, s.sink)
		return nil
	}
	return s.relay(ctx)
}

// serverLost says that err is about the server, unless it is about our own
// impatience.
func serverLost(err error) error {
	if network, ok := errors.AsType[net.Error](err); ok && network.Timeout() {
		return err
	}
	if _, ok := errors.AsType[*elog.ErrorData](err); ok {
		return serverNonsense()
	}
	return elog.New(elog.Fatal, elog.ConnectionFailure, "the extension host's gateway has lost its connection to the server: %v", err)
}

func serverNonsense() error {
	return elog.New(elog.Fatal, elog.ProtocolViolation, "the extension host's gateway has received an invalid message from the server")
}

// relay passes on messages both ways. It returns when the server has closed the
// session, or the client is gone.
func (s *session) relay(ctx context.Context) error {
	deadline := time.Time{}
	_ = s.sink.SetDeadline(deadline)
	_ = s.server.SetDeadline(deadline)
	if ctx.Err() != nil { // its deadline may have been the one that is lifted now
		return adminShutdown()
	}
	s.attach()
	defer s.detach()
	var both sync.WaitGroup
	both.Go(func() { s.passUp(ctx) })
	defer both.Wait()
	err := s.passDown()
	close(s.ended)
	if ctx.Err() != nil && !s.traffic.quiet() {
		s.cancelStatement(farewellTime)
	}
	_ = s.server.Close()
	if ctx.Err() == nil && err == nil {
		hangUp(s.client, s.sink) // what the server has said is to arrive, however slow the client is
	}
	_ = s.sink.SetReadDeadline(longAgo)
	switch {
	case s.down.isAmidMessage():
		return nil // another message would be taken for a part of that one
	case ctx.Err() != nil:
		return adminShutdown()
	}
	return err
}

func adminShutdown() *elog.ErrorData {
	return elog.New(elog.Fatal, elog.AdminShutdown, "terminating connection due to administrator command")
}

// farewellTime is how long it may take to cancel a statement when the gateway has
// to leave: a part of the time that the process is given.
const farewellTime = 2 * time.Second

// passUp passes on what the client says. When it says no more, neither does the
// server's session hear more, which ends when it has done what it was told. What
// makes no sense the server finds out by itself.
func (s *session) passUp(ctx context.Context) {
	up := newPump(s.client, s.server, &wantedOfClient, (&upward{session: s}).examine)
	err := up.run()
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, errNotProtocol) {
		_ = up.flushAll()
	}
	if s.traffic.waits() {
		s.cancelStatement(cancelTime) // it waits for an answer that nobody wants
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
		return serverNonsense()
	}
	return nil // one of the two is gone; to the client there is nothing to be said that it could take for the server's
}
