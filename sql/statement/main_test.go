package statement_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgexthost/pgexthost/internal/testkit"
	"github.com/pgexthost/pgexthost/sql"
	"github.com/pgexthost/pgexthost/sql/scanner"
	"github.com/pgexthost/pgexthost/sql/statement"
)

// server is the real server of this package's tests.
var server = testkit.Server{Setup: `
	CREATE ROLE owner LOGIN CREATEDB CREATEROLE;
	CREATE ROLE poor LOGIN;
	CREATE ROLE reader LOGIN;
	CREATE ROLE "odd ""role" LOGIN CREATEDB;`}

var check, within = testkit.Check, testkit.Context

func TestMain(m *testing.M) {
	defer server.Stop()
	m.Run()
}

// nonce is that of all sessions here.
const nonce = "00112233445566778899aabbccddeeff"

// client is a session behind what a gateway does with the statements of this
// package: what it gets is what a client of the gateway would.
type client struct {
	t       *testing.T
	conn    *pgconn.PgConn
	env     statement.Env
	notices []pgproto3.ErrorResponse
	tag     string // what the tag of the next statement is to be
	simple  bool   // the protocol
}

// message is what matters of an error or a notice.
type message struct{ Code, Message, Detail, Hint, Context string }

// outcome is what a command leads to.
type outcome struct {
	Tag     string
	Error   message
	Notices []message
}

// own is an environment with the scripts of this program only.
func own() statement.Env { return with(sql.Scripts()) }

func with(c sql.Catalog) statement.Env {
	return statement.Env{Nonce: nonce, ClientEncoding: "UTF8", Catalog: func() (sql.Catalog, error) { return c, nil }}
}

// do translates a command and runs what it becomes.
func (c *client) do(cmd scanner.Command) outcome {
	c.t.Helper()
	env := c.env
	env.InTransaction = env.InTransaction || c.conn.TxStatus() != 'I'
	text, ok := statement.Translate(cmd, env)
	if !ok {
		c.t.Fatalf("%+v: not translated", cmd)
	}
	return c.run(text)
}

// must does that, and expects success with a tag.
func (c *client) must(cmd scanner.Command, tag string) outcome {
	c.t.Helper()
	o := c.do(cmd)
	if o.Error != (message{}) || o.Tag != tag {
		c.t.Fatalf("%+v: got %+v, want %s", cmd, o, tag)
	}
	return o
}

// fails does that, and expects an error.
func (c *client) fails(cmd scanner.Command, code, text string) message {
	c.t.Helper()
	o := c.do(cmd)
	if o.Error.Code != code || o.Error.Message != text || o.Tag != "" {
		c.t.Fatalf("%+v: got %+v, want %s %s", cmd, o, code, text)
	}
	return o.Error
}

// run sends a statement as it is.
func (c *client) run(text string) outcome {
	c.t.Helper()
	c.notices, c.tag = nil, ""
	var tag pgconn.CommandTag
	var err error
	if c.simple {
		var results []*pgconn.Result
		if results, err = c.conn.Exec(within(c.t), text).ReadAll(); err == nil && len(results) > 0 {
			tag = results[len(results)-1].CommandTag
		}
	} else {
		tag, err = c.conn.ExecParams(within(c.t), text, nil, nil, nil, nil).Close()
	}
	o := outcome{Tag: tag.String()}
	if c.tag != "" && o.Tag == "DO" {
		o.Tag = c.tag
	}
	for i := range c.notices {
		o.Notices = append(o.Notices, polished(c.notices[i]))
	}
	if server := testkit.ServerError(err); server != nil {
		o.Error = polished(response(server))
	} else if err != nil {
		c.t.Fatalf("%s: %v", text, err)
	}
	return o
}

// sql runs SQL that has to succeed.
func (c *client) sql(text string) {
	c.t.Helper()
	if o := (&client{t: c.t, conn: c.conn, simple: true}).run(text); o.Error != (message{}) {
		c.t.Fatalf("%s: %+v", text, o.Error)
	}
}

// scanned runs a text as the gateway does: translated, if it is one for the host.
func (c *client) scanned(text string) outcome {
	c.t.Helper()
	found := scanner.Scan(text, scanner.Options{StandardConformingStrings: true, ClientEncoding: "UTF8"})
	env := c.env
	env.InTransaction = env.InTransaction || c.conn.TxStatus() != 'I'
	if len(found) == 1 {
		if translated, ok := statement.Translate(found[0].Command, env); ok {
			text = translated
		}
	}
	return c.run(text)
}

// query returns the only value of a query.
func (c *client) query(text string) string {
	c.t.Helper()
	result := c.conn.ExecParams(within(c.t), text, nil, nil, nil, nil).Read()
	if result.Err != nil || len(result.Rows) != 1 {
		c.t.Fatalf("%s: %d rows, %v", text, len(result.Rows), result.Err)
	}
	return string(result.Rows[0][0])
}

func (c *client) wants(text, want string) {
	c.t.Helper()
	if got := c.query(text); got != want {
		c.t.Errorf("%s: got %q, want %q", text, got, want)
	}
}

func polished(e pgproto3.ErrorResponse) message {
	statement.Polish(&e, nonce)
	return message{e.Code, e.Message, e.Detail, e.Hint, e.Where}
}

// response undoes what pgconn makes of the server's message.
func response(e *pgconn.PgError) pgproto3.ErrorResponse {
	return pgproto3.ErrorResponse{
		Severity: e.Severity, Code: e.Code, Message: e.Message, Detail: e.Detail, Hint: e.Hint, Where: e.Where,
		Position: e.Position, InternalPosition: e.InternalPosition, InternalQuery: e.InternalQuery,
		ConstraintName: e.ConstraintName, DataTypeName: e.DataTypeName, File: e.File, Line: e.Line, Routine: e.Routine,
	}
}

// newDatabase makes a database of a role and returns a session of that role with it.
func newDatabase(t *testing.T, owner string, env statement.Env) *client {
	t.Helper()
	return session(t, server.NewDatabase(t, owner), owner, env)
}

// session opens a session, which ends with the test.
func session(t *testing.T, database, user string, env statement.Env) *client {
	t.Helper()
	config, err := pgconn.ParseConfig(server.Conninfo(t, database, user))
	check(t, err)
	c := &client{t: t, env: env}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		e := response((*pgconn.PgError)(n))
		r := pgproto3.NoticeResponse(e)
		if tag, ok := statement.Tag(&r, nonce); ok {
			c.tag = tag
			return
		}
		c.notices = append(c.notices, e)
	}
	c.conn, err = pgconn.ConnectConfig(within(t), config)
	check(t, err)
	t.Cleanup(func() { _ = c.conn.Close(context.Background()) })
	return c
}

// another opens a session with the same database as another user.
func (c *client) another(user string) *client {
	c.t.Helper()
	return session(c.t, c.query("SELECT current_database()"), user, c.env)
}
