package connect_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/connect"
)

// steps are the moments of a bypass, by the message that begins each: the
// session it is sent in, its first word, and which of these it is. The first
// session is the keeper's, the second the one that the worker wants.
var steps = map[string]struct {
	message string
	nth     int
}{
	"locked":      {"1 begin", 1}, // the advisory lock is held
	"uncommitted": {"1 commit", 1},
	"open":        {"2 connect", 1},
	"connected":   {"1 begin", 2},
	"put back":    {"1 goodbye", 1},
}

// tap stands between one worker and the server, and holds the worker up at a
// step: the message that begins it gets no further.
type tap struct {
	conninfo string        // for the worker
	reached  chan struct{} // closed when the worker comes to the step
	goOn     chan struct{} // closed: the message may pass

	ctx    context.Context // ends with all sessions
	hangUp context.CancelFunc

	network, server string // address
	message         string

	mu       sync.Mutex
	sessions int
	toCome   int // how often the message is still to come, for the step to be reached
}

func newTap(t *testing.T, step, conninfo string) *tap {
	t.Helper()
	config, err := pgx.ParseConfig(conninfo)
	check(t, err)
	dir, err := os.MkdirTemp("", "tap-")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &tap{
		conninfo: conninfo + " host=" + dir, message: steps[step].message, toCome: steps[step].nth,
		reached: make(chan struct{}), goOn: make(chan struct{}),
	}
	p.ctx, p.hangUp = context.WithCancel(context.Background())
	p.network, p.server = pgconn.NetworkAddress(config.Host, config.Port)
	listener, err := net.Listen(pgconn.NetworkAddress(dir, config.Port))
	check(t, err)
	var all sync.WaitGroup
	t.Cleanup(func() {
		p.hangUp()
		_ = listener.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer client.Close()
				defer context.AfterFunc(p.ctx, func() { _ = client.Close() })()
				p.relay(client)
			})
		}
	})
	return p
}

// relay passes on what client and server send each other, message by message.
func (p *tap) relay(client net.Conn) {
	message, err := readMessage(client, 0)
	if err != nil {
		return
	}
	const cancelRequest = 80877102
	session := "cancel"
	if binary.BigEndian.Uint32(message[4:]) != cancelRequest {
		session = p.nextSession()
	}
	if !p.pass(session + " connect") {
		return
	}
	server, err := net.Dial(p.network, p.server)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	for {
		if _, err := server.Write(message); err != nil {
			return
		}
		if message, err = readMessage(client, 1); err != nil || !p.pass(session+" "+firstWord(message)) {
			return
		}
	}
}

func (p *tap) nextSession() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions++
	return strconv.Itoa(p.sessions)
}

// pass reports whether a message may pass, and takes its time if it is the one.
func (p *tap) pass(message string) bool {
	p.mu.Lock()
	if message == p.message {
		p.toCome--
	}
	here := message == p.message && p.toCome == 0
	p.mu.Unlock()
	if !here {
		return true
	}
	close(p.reached)
	select {
	case <-p.goOn:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// readMessage reads a message with its type, of that many bytes, and its length.
func readMessage(r io.Reader, typeBytes int) ([]byte, error) {
	head := make([]byte, typeBytes+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	message := append(head, make([]byte, binary.BigEndian.Uint32(head[typeBytes:])-4)...)
	_, err := io.ReadFull(r, message[len(head):])
	return message, err
}

// firstWord is that of a simple query, in lower case.
func firstWord(message []byte) string {
	switch message[0] {
	case 'Q':
		word, _, _ := strings.Cut(string(message[5:len(message)-1]), " ")
		return strings.ToLower(word)
	case 'X':
		return "goodbye"
	}
	return ""
}

// initializeAt connects, as a worker of a host that may bypass, and calls act at
// the step.
func initializeAt(ctx context.Context, t *testing.T, step, conninfo, database, role string, act func()) (*connect.Conn, error) {
	t.Helper()
	p := newTap(t, step, conninfo)
	type result struct {
		conn *connect.Conn
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		conn, err := connect.Initialize(ctx, bypassing(p.conninfo), database, role, connect.BypassAllowConn)
		ended <- result{conn, err}
	}()
	select {
	case <-p.reached:
		act()
		close(p.goOn)
	case r := <-ended:
		t.Fatalf("the step %q was never reached: %v", step, r.err)
	}
	r := <-ended
	return closing(t, r.conn), r.err
}
