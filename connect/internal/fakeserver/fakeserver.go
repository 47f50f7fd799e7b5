// Package fakeserver is a scripted PostgreSQL server for tests: it says what a
// test wants to hear, including what no server should say. It speaks the
// protocol by the code of pgproto3/v2, which is not the code under test.
package fakeserver

import (
	"net"
	"os"
	"path/filepath"
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
	dir      string
	listener net.Listener
	scripts  []Script

	mu        sync.Mutex
	clients   map[*Client]bool
	accepted  int
	cancelled []uint32
	closed    bool
	running   sync.WaitGroup
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
	listener, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL."+strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{dir: dir, listener: listener, scripts: scripts, clients: make(map[*Client]bool)}
	s.running.Go(s.accept)
	t.Cleanup(func() {
		s.Close()
		_ = os.RemoveAll(dir)
	})
	return s
}

// Conninfo returns how to reach the server.
func (s *Server) Conninfo() string {
	return "host=" + s.dir + " port=" + strconv.Itoa(port) + " user=tester"
}

// Connections returns how many connections there were, without cancel requests.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted - len(s.cancelled)
}

// Cancelled returns the process ids of the cancel requests received.
func (s *Server) Cancelled() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]uint32(nil), s.cancelled...)
}

// Close ends all connections and stops listening.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.clients {
		_ = c.conn.Close()
	}
	s.mu.Unlock()
	_ = s.listener.Close()
	s.running.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		c := &Client{server: s, conn: conn, backend: pgproto3.NewBackend(pgproto3.NewChunkReader(conn), conn)}
		s.mu.Lock()
		if s.closed {
			_ = conn.Close()
		}
		script := s.scripts[min(s.accepted-len(s.cancelled), len(s.scripts)-1)]
		s.accepted++
		s.clients[c] = true
		s.mu.Unlock()
		s.running.Go(func() { c.play(script) })
	}
}

// Client is one connection, seen by the server. Its methods do nothing once the
// client is gone.
type Client struct {
	server  *Server
	conn    net.Conn
	backend *pgproto3.Backend
	// Params are the parameters of the start-up message.
	Params map[string]string
}

// play does what comes first in every connection, and then what the script says.
func (c *Client) play(script Script) {
	defer func() {
		_ = c.conn.Close()
		c.server.mu.Lock()
		delete(c.server.clients, c)
		c.server.mu.Unlock()
	}()
	message, err := c.backend.ReceiveStartupMessage()
	if err != nil {
		return
	}
	switch m := message.(type) {
	case *pgproto3.CancelRequest:
		c.server.mu.Lock()
		c.server.cancelled = append(c.server.cancelled, m.ProcessID)
		c.server.mu.Unlock()
	case *pgproto3.StartupMessage:
		c.Params = m.Parameters
		script(c)
	}
}

// Raw writes bytes that need not be a message.
func (c *Client) Raw(text string) { _, _ = c.conn.Write([]byte(text)) }

// Fatal sends an error that ends the session.
func (c *Client) Fatal(sqlstate, message string) {
	_ = c.backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: sqlstate, Message: message})
}

// Welcome lets the client in, as a server of version 15.
func (c *Client) Welcome() { c.WelcomeTo("15.0") }

// WelcomeTo lets the client in.
func (c *Client) WelcomeTo(version string) {
	_ = c.backend.Send(&pgproto3.AuthenticationOk{})
	_ = c.backend.Send(&pgproto3.ParameterStatus{Name: "server_version", Value: version})
	_ = c.backend.Send(&pgproto3.BackendKeyData{ProcessID: 4711, SecretKey: 42})
	_ = c.backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
}

// Query waits for a simple query; ok is false if the client has gone.
func (c *Client) Query() (sql string, ok bool) {
	message, err := c.backend.Receive()
	query, ok := message.(*pgproto3.Query)
	if err != nil || !ok {
		return "", false
	}
	return query.String, true
}

// Row answers a query with one row of text.
func (c *Client) Row(values ...string) {
	fields := make([]pgproto3.FieldDescription, len(values))
	row := make([][]byte, len(values))
	for i, v := range values {
		fields[i] = pgproto3.FieldDescription{Name: []byte("column"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1}
		row[i] = []byte(v)
	}
	_ = c.backend.Send(&pgproto3.RowDescription{Fields: fields})
	_ = c.backend.Send(&pgproto3.DataRow{Values: row})
	_ = c.backend.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
	_ = c.backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
}

// Login lets the client in and answers the statement that package connect sends
// first.
func (c *Client) Login() {
	c.Welcome()
	if _, ok := c.Query(); ok {
		c.Row("5", "0")
	}
}

// Hang says nothing more until the client has gone.
func (c *Client) Hang() {
	for {
		if _, err := c.backend.Receive(); err != nil {
			return
		}
	}
}

// Refuse is a script that refuses the connection.
func Refuse(sqlstate, message string) Script {
	return func(c *Client) { c.Fatal(sqlstate, message) }
}
