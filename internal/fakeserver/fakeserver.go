// Package fakeserver is a scripted PostgreSQL server for tests: it says what a
// test wants to hear, including what no server should say. It speaks the
// protocol by the code of pgproto3/v2, which is not the code under test.
//
// A [Script] plays one connection; [Server.Play] changes which one the next
// connections get. [Postgres] is a script that behaves well, and whose recovery,
// promotion, restart and shutdown a test commands.
package fakeserver

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/jackc/pgproto3/v2"
)

const port = 5432

// Script plays the server in one connection. It runs in a goroutine of its own;
// the connection is closed when it returns.
type Script func(c *Client)

// Server is a listening server. It ends with the test.
type Server struct {
	network, address string

	running sync.WaitGroup

	mu          sync.Mutex
	listener    net.Listener // nil while it does not listen
	scripts     []Script
	early       bool // scripts do not wait for the start-up message
	played      int  // connections since the scripts were set
	clients     map[*Client]bool
	accepted    int
	connections int
	cancelled   []uint32
}

// TB is what the package needs of testing.TB.
type TB interface {
	Helper()
	Fatal(args ...any)
	Cleanup(f func())
}

// Start listens on a socket in a new directory. The first connection gets the
// first script, and so on; those beyond get the last.
func Start(t TB, scripts ...Script) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "fakepg") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return start(t, "unix", filepath.Join(dir, ".s.PGSQL."+strconv.Itoa(port)), scripts)
}

// StartTCP is Start on a free port of 127.0.0.1.
func StartTCP(t TB, scripts ...Script) *Server {
	t.Helper()
	return start(t, "tcp", "127.0.0.1:0", scripts)
}

func start(t TB, network, address string, scripts []Script) *Server {
	t.Helper()
	s := &Server{network: network, address: address, scripts: scripts, clients: make(map[*Client]bool)}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Conninfo returns how to reach the server.
func (s *Server) Conninfo() string {
	if s.network == "tcp" {
		host, port, _ := net.SplitHostPort(s.address)
		return "host=" + host + " port=" + port + " user=tester"
	}
	return "host=" + filepath.Dir(s.address) + " port=" + strconv.Itoa(port) + " user=tester"
}

// Play sets what the connections from now on get: the first the first script,
// and so on; those beyond get the last.
func (s *Server) Play(scripts ...Script) { s.set(false, scripts) }

// PlayAtOnce is Play for scripts that begin before the client has said anything.
func (s *Server) PlayAtOnce(scripts ...Script) { s.set(true, scripts) }

func (s *Server) set(early bool, scripts []Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts, s.early, s.played = scripts, early, 0
}

// Connections returns how many connections scripts were played in.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

// Accepted returns how many connections there were at all: also cancel
// requests, and those that ended before their start-up message.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Cancelled returns the process ids of the cancel requests received.
func (s *Server) Cancelled() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cancelled)
}

// Clients returns the connections that are open now.
func (s *Server) Clients() []*Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	clients := make([]*Client, 0, len(s.clients))
	for c := range s.clients {
		clients = append(clients, c)
	}
	return clients
}

// Disconnect closes all connections.
func (s *Server) Disconnect() {
	for _, c := range s.Clients() {
		_ = c.conn.Close()
	}
}

// Listen listens again after Close, at the same address.
func (s *Server) Listen() error {
	listener, err := net.Listen(s.network, s.address)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener, s.address = listener, listener.Addr().String()
	s.running.Go(func() { s.accept(listener) })
	return nil
}

// Close stops listening, ends all connections and waits for their scripts to
// return.
func (s *Server) Close() {
	s.mu.Lock()
	listener := s.listener
	s.listener = nil
	s.mu.Unlock()
	if listener != nil {
		_ = listener.Close()
	}
	s.Disconnect()
	s.running.Wait()
}

func (s *Server) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		c := &Client{server: s, conn: conn, backend: pgproto3.NewBackend(pgproto3.NewChunkReader(conn), conn)}
		s.mu.Lock()
		if s.listener != listener {
			_ = conn.Close()
		}
		s.accepted++
		s.clients[c] = true
		s.running.Go(c.play)
		s.mu.Unlock()
	}
}

// begins reports whether scripts begin before the start-up message.
func (s *Server) begins() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.early
}

// firstPid is the process id of the first session; those that follow count up.
const firstPid = 4711

// take returns the script of a connection that is no cancel request.
func (s *Server) take(c *Client) Script {
	s.mu.Lock()
	defer s.mu.Unlock()
	script := s.scripts[min(s.played, len(s.scripts)-1)]
	c.pid = firstPid + uint32(s.connections)
	s.played++
	s.connections++
	return script
}

// cancel ends the statement of a session that sleeps.
func (s *Server) cancel(pid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancelled = append(s.cancelled, pid)
	for c := range s.clients {
		if c.pid == pid && c.sleeping {
			c.sleeping = false
			c.Error("57014", "canceling statement due to user request")
		}
	}
}

func (s *Server) forget(c *Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
}
