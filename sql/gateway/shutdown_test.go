package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Whatever a client is doing, it is told, and nothing of it is left.
func TestAShutdownTellsEveryClient(t *testing.T) {
	b, d := shared(t), direct(t)
	before := one(t, d, "SELECT count(*)::text FROM pg_stat_activity WHERE backend_type = 'client backend'")
	connected := b.dial(t) // and says nothing
	asked := b.dial(t)
	asked.startup("plain")
	until[*pgproto3.AuthenticationCleartextPassword](asked)
	idle := b.dial(t)
	idle.login()
	inTransaction := b.dial(t)
	inTransaction.login()
	inTransaction.send(&pgproto3.Query{String: "BEGIN"})
	until[*pgproto3.ReadyForQuery](inTransaction)
	running := b.dial(t)
	running.login()
	running.send(&pgproto3.Query{String: "SELECT pg_sleep(1000) /* shutdown */"})
	busy(t, d, "/* shutdown */", 1)
	open := b.dial(t)
	open.login()
	open.send(&pgproto3.Parse{Query: "SELECT 1"}, &pgproto3.Flush{})
	until[*pgproto3.ParseComplete](open)

	begun := time.Now()
	b.stop()
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
	for name, p := range map[string]*peer{
		"connected": connected, "asked": asked, "idle": idle, "in a transaction": inTransaction, "running": running, "open": open,
	} {
		t.Run(name, func(t *testing.T) {
			p.t = t
			p.fatal("57P01", "terminating connection due to administrator command")
		})
	}
	eventually(t, "all sessions of the server have ended", func() bool {
		return one(t, d, "SELECT count(*)::text FROM pg_stat_activity WHERE backend_type = 'client backend'") == before
	})
	if n := gatewayGoroutines(); n > 0 {
		t.Errorf("%d goroutines are left:\n%s", n, stacks())
	}
	if _, err := os.Stat(filepath.Dir(b.socket()) + "/" + filepath.Base(b.socket())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// A message that has begun is not continued with another one.
func TestAShutdownAmidAMessageSaysNothing(t *testing.T) {
	b, fake := newBedBeforeFake(t)
	p := b.dialUnix(t)
	p.startup("plain")
	server := acceptStartup(t, fake)
	half := message('D', 1000, "the first half")
	_, err := server.Write(slicesOf(msg('R', "\x00\x00\x00\x00"), msg('Z', "I"), half))
	check(t, err)
	_, _ = p.hear()
	_, _ = p.hear()
	got := make([]byte, len(half))
	_, err = io.ReadFull(p.conn, got)
	check(t, err)
	b.stop()
	p.silentlyOver()
}

func TestAShutdownDoesNotWaitForAServerThatDoesNotAnswer(t *testing.T) {
	b, silent := newBedBeforeFake(t)
	p := b.dial(t)
	p.startup("plain")
	accept(t, silent)
	b.stop()
	p.fatal("57P01", "terminating connection due to administrator command")
}

// newBedBeforeFake starts a gateway before a server whose part the test plays.
func newBedBeforeFake(t testing.TB, overrides ...string) (*bed, net.Listener) {
	t.Helper()
	fake, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { _ = fake.Close() })
	_, port, err := net.SplitHostPort(fake.Addr().String())
	check(t, err)
	return newBed(t, "sslmode=disable host=127.0.0.1 port="+port, overrides...), fake
}

// accept takes the gateway's next connection.
func accept(t testing.TB, fake net.Listener) net.Conn {
	t.Helper()
	conn, err := fake.Accept()
	check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// acceptStartup takes it, and its start-up packet.
func acceptStartup(t testing.TB, fake net.Listener) net.Conn {
	t.Helper()
	conn := accept(t, fake)
	_, err := conn.Read(make([]byte, 1000))
	check(t, err)
	return conn
}

// A server that goes away while a client logs in is an error, not silence.
func TestAServerThatLeavesDuringAuthenticationIsReported(t *testing.T) {
	b, fake := newBedBeforeFake(t)
	for name, play := range map[string]func(net.Conn){
		"at once":            func(net.Conn) {},
		"after its question": func(c net.Conn) { _, _ = c.Write(msg('R', "\x00\x00\x00\x03")) },
		"amid its question":  func(c net.Conn) { _, _ = c.Write(msg('R', "\x00\x00\x00\x03")[:7]) },
	} {
		t.Run(name, func(t *testing.T) {
			p := b.dial(t)
			p.startup("plain")
			server := acceptStartup(t, fake)
			play(server)
			if name == "after its question" {
				until[*pgproto3.AuthenticationCleartextPassword](p)
				_ = server.Close()
				p.send(&pgproto3.PasswordMessage{Password: "x"})
			}
			_ = server.Close()
			p.fatal(string(elog.ConnectionFailure), "")
		})
	}
}

// A server's message that cannot be one is not passed on, nor believed.
func TestAServerThatTalksNonsenseIsReported(t *testing.T) {
	b, fake := newBedBeforeFake(t)
	for name, say := range map[string][]byte{
		"a length of 3":                  message('R', 3, ""),
		"a gigabyte":                     message('R', 1<<30, ""),
		"an authentication message of 4": message('R', 4, ""),
		"AuthenticationOk, then a length of 3": slicesOf(
			msg('R', "\x00\x00\x00\x00"), msg('Z', "I"), message('C', 3, "")),
	} {
		t.Run(name, func(t *testing.T) {
			p := b.dialUnix(t)
			p.startup("plain")
			_, err := acceptStartup(t, fake).Write(say)
			check(t, err)
			for {
				m, err := p.front.Receive()
				if err != nil {
					t.Fatal("the client is not told")
				}
				if e, ok := m.(*pgproto3.ErrorResponse); ok {
					if e.Code != string(elog.ProtocolViolation) {
						t.Errorf("got %s: %s", e.Code, e.Message)
					}
					return
				}
			}
		})
	}
}

// A shutdown that comes while clients come must not wait for any of them.
func TestAShutdownAmidACrowdOfNewClients(t *testing.T) {
	for range 10 {
		b := shared(t)
		ctx, cancel := context.WithCancel(context.Background())
		started := make(chan struct{}, 1)
		for range 8 {
			go func() {
				for ctx.Err() == nil {
					conn, err := net.Dial("unix", b.socket())
					if err != nil {
						return
					}
					_, _ = conn.Write(packet(version30, "user\x00plain\x00\x00"))
					_, _ = io.ReadFull(conn, make([]byte, 9))
					select {
					case started <- struct{}{}:
					default:
					}
					_ = conn.Close()
				}
			}()
		}
		<-started
		begun := time.Now()
		b.stop()
		cancel()
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("took %v", took)
		}
	}
}
