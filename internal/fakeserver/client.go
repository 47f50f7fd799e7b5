package fakeserver

import (
	"net"

	"github.com/jackc/pgproto3/v2"
)

// Client is one connection, seen by the server. Its methods do nothing once the
// client is gone.
type Client struct {
	server  *Server
	conn    net.Conn
	backend *pgproto3.Backend
	// Params are the parameters of the start-up message.
	Params map[string]string

	pid      uint32
	sleeping bool // guarded by the server's mutex
}

// play does what comes first in every connection, and then what the script says.
func (c *Client) play() {
	defer func() {
		_ = c.conn.Close()
		c.server.forget(c)
	}()
	if c.server.begins() || c.receiveStartup() {
		c.server.take(c)(c)
	}
}

// receiveStartup reads up to the start-up message; ok is false if none comes.
func (c *Client) receiveStartup() (ok bool) {
	for {
		message, err := c.backend.ReceiveStartupMessage()
		if err != nil {
			return false
		}
		switch m := message.(type) {
		case *pgproto3.SSLRequest, *pgproto3.GSSEncRequest:
			c.Raw("N")
		case *pgproto3.CancelRequest:
			c.server.cancel(m.ProcessID)
			return false
		case *pgproto3.StartupMessage:
			c.Params = m.Parameters
			return true
		}
	}
}

// Sleep answers a query when it is cancelled.
func (c *Client) Sleep() {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.sleeping = true
}

// Raw writes bytes that need not be a message. It reports whether the client is
// still there to take them.
func (c *Client) Raw(text string) bool {
	_, err := c.conn.Write([]byte(text))
	return err == nil
}

// Flood writes the same bytes again and again until the client has gone.
func (c *Client) Flood(text string) {
	chunk := []byte(text)
	for len(chunk) < 1<<16 {
		chunk = append(chunk, text...)
	}
	for {
		if _, err := c.conn.Write(chunk); err != nil {
			return
		}
	}
}

// Hang says nothing more until the client has gone.
func (c *Client) Hang() {
	b := make([]byte, 512)
	for {
		if _, err := c.conn.Read(b); err != nil {
			return
		}
	}
}

// Reset ends the connection with a TCP reset.
func (c *Client) Reset() {
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.conn.Close()
}

// Fatal sends an error that ends the session.
func (c *Client) Fatal(sqlstate, message string) {
	_ = c.backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: sqlstate, Message: message})
}

// Error sends an error that the session survives, as the answer to a query.
func (c *Client) Error(sqlstate, message string) {
	_ = c.backend.Send(&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: sqlstate, Message: message})
	c.ready()
}

// version is what the server calls itself.
const version = "15.0"

// Welcome lets the client in, as a server of version 15.
func (c *Client) Welcome() { c.WelcomeTo(version) }

// WelcomeTo lets the client in. An empty version is not told.
func (c *Client) WelcomeTo(version string) {
	_ = c.backend.Send(&pgproto3.AuthenticationOk{})
	for name, value := range map[string]string{"server_version": version, "standard_conforming_strings": "on", "client_encoding": "UTF8"} {
		if value != "" {
			_ = c.backend.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
		}
	}
	_ = c.backend.Send(&pgproto3.BackendKeyData{ProcessID: c.pid, SecretKey: 42})
	c.ready()
}

func (c *Client) ready() { _ = c.backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'}) }

// Query waits for a simple query; ok is false if the client has gone.
func (c *Client) Query() (sql string, ok bool) {
	message, err := c.backend.Receive()
	query, ok := message.(*pgproto3.Query)
	if err != nil || !ok {
		return "", false
	}
	return query.String, true
}

// Null is a value for Rows.
const Null = "\x00NULL"

// Row answers a query with one row of text.
func (c *Client) Row(values ...string) { c.Rows(values) }

// Rows answers a query with rows of text.
func (c *Client) Rows(rows ...[]string) {
	var columns int
	if len(rows) > 0 {
		columns = len(rows[0])
	}
	c.Columns(columns)
	for _, values := range rows {
		row := make([][]byte, len(values))
		for i, v := range values {
			if v != Null {
				row[i] = []byte(v)
			}
		}
		_ = c.backend.Send(&pgproto3.DataRow{Values: row})
	}
	c.Done()
}

// Columns begins the answer to a query.
func (c *Client) Columns(n int) {
	fields := make([]pgproto3.FieldDescription, n)
	for i := range fields {
		fields[i] = pgproto3.FieldDescription{Name: []byte("column"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1}
	}
	_ = c.backend.Send(&pgproto3.RowDescription{Fields: fields})
}

// Done ends the answer to a query.
func (c *Client) Done() {
	_ = c.backend.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
	c.ready()
}

// Login lets the client in and answers the statement that package connect sends
// first.
func (c *Client) Login() {
	c.Welcome()
	if _, ok := c.Query(); ok {
		c.Row("5", "0")
	}
}

// Refuse is a script that refuses the connection.
func Refuse(sqlstate, message string) Script {
	return func(c *Client) { c.Fatal(sqlstate, message) }
}
