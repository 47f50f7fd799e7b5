package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgproto3/v2"
)

// peer is a client that can say anything. What it says and hears in good form goes
// through a codec that shares no code with the gateway's.
type peer struct {
	t     testing.TB
	conn  net.Conn
	front *pgproto3.Frontend
}

// dial connects a peer to the gateway over TCP.
func (b *bed) dial(t testing.TB) *peer {
	t.Helper()
	return dialPeer(t, "tcp", fmt.Sprintf("127.0.0.1:%d", b.port))
}

// dialUnix connects it over the socket.
func (b *bed) dialUnix(t testing.TB) *peer {
	t.Helper()
	return dialPeer(t, "unix", b.socket())
}

func dialPeer(t testing.TB, network, address string) *peer {
	t.Helper()
	conn, err := net.Dial(network, address)
	check(t, err)
	return newPeer(t, conn)
}

func newPeer(t testing.TB, conn net.Conn) *peer {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	check(t, conn.SetDeadline(time.Now().Add(limit)))
	return &peer{t: t, conn: conn, front: pgproto3.NewFrontend(pgproto3.NewChunkReader(conn), conn)}
}

func (p *peer) send(messages ...pgproto3.FrontendMessage) {
	p.t.Helper()
	for _, m := range messages {
		check(p.t, p.front.Send(m))
	}
}

// raw sends bytes, as far as the other side takes them.
func (p *peer) raw(b []byte) { _, _ = p.conn.Write(b) }

// startup sends a start-up packet for the user.
func (p *peer) startup(user string, more ...string) {
	p.t.Helper()
	p.send(startupMessage(pgproto3.ProtocolVersionNumber, user, more...))
}

func startupMessage(version uint32, user string, more ...string) *pgproto3.StartupMessage {
	m := &pgproto3.StartupMessage{ProtocolVersion: version, Parameters: map[string]string{"user": user, "database": "postgres"}}
	for i := 0; i < len(more); i += 2 {
		m.Parameters[more[i]] = more[i+1]
	}
	return m
}

func (p *peer) receive() pgproto3.BackendMessage {
	p.t.Helper()
	m, err := p.front.Receive()
	check(p.t, err)
	return m
}

// until receives up to a message of the type of the wanted one, which it returns.
func until[M pgproto3.BackendMessage](p *peer) M {
	p.t.Helper()
	for {
		m := p.receive()
		if wanted, ok := m.(M); ok {
			return wanted
		}
		if e, ok := m.(*pgproto3.ErrorResponse); ok {
			p.t.Fatalf("got %s %s: %s", e.Severity, e.Code, e.Message)
		}
	}
}

// login logs in as a role that is asked for its password in the clear.
func (p *peer) login(more ...string) {
	p.t.Helper()
	p.startup("plain", more...)
	until[*pgproto3.AuthenticationCleartextPassword](p)
	p.send(&pgproto3.PasswordMessage{Password: "s3cret"})
	until[*pgproto3.ReadyForQuery](p)
}

// fatal expects an error and then the end.
func (p *peer) fatal(code, message string) {
	p.t.Helper()
	for {
		switch m := p.receive().(type) {
		case *pgproto3.ErrorResponse:
			if m.Severity != "FATAL" || m.Code != code || message != "" && m.Message != message {
				p.t.Errorf("got %s %s: %s, want FATAL %s: %s", m.Severity, m.Code, m.Message, code, message)
			}
			p.over()
			return
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
		default:
			p.t.Fatalf("got %T, want an error", m)
		}
	}
}

// over expects that nothing more comes but the end.
func (p *peer) over() {
	p.t.Helper()
	m, err := p.front.Receive()
	if err == nil {
		p.t.Fatalf("got %T %v, want the end", m, m)
	}
	if network, ok := errors.AsType[net.Error](err); ok && network.Timeout() {
		p.t.Fatal("the connection stays open")
	}
}

// silentlyOver expects the end of the connection without a byte.
func (p *peer) silentlyOver() {
	p.t.Helper()
	rest, err := io.ReadAll(p.conn)
	if network, ok := errors.AsType[net.Error](err); ok && network.Timeout() {
		p.t.Fatal("the connection stays open")
	}
	if len(rest) > 0 {
		p.t.Errorf("got %q, want silence", rest)
	}
}

// hear receives a message without the codec, which does not know all there are.
func (p *peer) hear() (kind byte, body []byte) {
	p.t.Helper()
	head := make([]byte, 5)
	_, err := io.ReadFull(p.conn, head)
	check(p.t, err)
	body = make([]byte, binary.BigEndian.Uint32(head[1:])-4)
	_, err = io.ReadFull(p.conn, body)
	check(p.t, err)
	return head[0], body
}

// packet is a packet without a type.
func packet(code uint32, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(binary.BigEndian.AppendUint32(b, code), body...)
}

// message is a message whose header may lie about its length.
func message(kind byte, length int, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(length)), body...)
}

// encode is a message as bytes.
func encode(t testing.TB, m pgproto3.FrontendMessage) []byte {
	t.Helper()
	b, err := m.Encode(nil)
	check(t, err)
	return b
}
