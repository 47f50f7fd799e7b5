package call_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/internal/testkit"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql"
	"github.com/pgexthost/pgexthost/sql/call"
)

// server is the real server of this package's tests.
var server = testkit.Server{
	Options: localpg.Options{Settings: []string{"max_connections=60", "wal_level=replica"}},
	Setup:   `CREATE ROLE owner LOGIN CREATEDB CREATEROLE; CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE stranger LOGIN;`,
}

var check, within, eventually = testkit.Check, testkit.Context, testkit.Eventually

func TestMain(m *testing.M) {
	defer server.Stop()
	m.Run()
}

// bed is a database with the schema, and what answers its calls.
type bed struct {
	testing.TB
	database string
	conninfo string // of the server, without database and user
	host     *fakeHost
	calls    *call.Server
}

// newBed makes a database in which alice is an operator.
func newBed(t testing.TB) *bed {
	t.Helper()
	b := &bed{TB: t, database: server.NewDatabase(t, "owner"), conninfo: server.Running(t).ConnInfo(), host: newFakeHost()}
	b.install("pgexthost", "worker_spi")
	server.Exec(t, "GRANT pgexthost_operator TO alice")
	b.serve("owner")
	return b
}

// serve answers calls as a user of the server, until the test ends.
func (b *bed) serve(user string) {
	b.calls = call.NewServer(b.host, func() string { return b.conninfo + " user=" + user }, func(e *elog.ErrorData) { b.Log(e.Level, e) })
	b.Cleanup(b.calls.Close)
}

func (b *bed) install(names ...string) {
	b.Helper()
	config, err := connect.ParseConninfo(b.conninfo + " user=owner dbname=" + b.database)
	check(b, err)
	conn, err := connect.Open(within(b), config, "test")
	check(b, err)
	defer conn.HangUp(context.Background())
	for _, name := range names {
		_, err := sql.Scripts().Install(within(b), conn, name, "public")
		check(b, err)
	}
}

// client is a client's session, behind a gateway or not.
type client struct {
	*pgx.Conn
	t       testing.TB
	session *call.Session // nil: behind none
	failed  chan *elog.ErrorData
	hears   func(n *pgconn.Notice) // the calls, too; or nil
	notices []string               // that are no calls
}

var nonces atomic.Uint32

// connect opens a session behind a gateway, which the test plays: it hands over
// the calls, and says when a statement has ended.
func (b *bed) connect(user string) *client {
	b.Helper()
	return b.open(b.database, user, fmt.Sprintf("%032x", 0xabc0000+nonces.Add(1)))
}

// plain opens a session behind no gateway.
func (b *bed) plain(database, user string) *client {
	b.Helper()
	return b.open(database, user, "")
}

func (b *bed) open(database, user, nonce string) *client {
	b.Helper()
	config, err := pgx.ParseConfig(b.conninfo + " dbname=" + database + " user=" + user)
	check(b, err)
	c := &client{t: b, failed: make(chan *elog.ErrorData, 100)}
	var attach sync.Once
	if nonce != "" {
		config.RuntimeParams["pgexthost.gateway"] = nonce
	}
	config.OnNotice = func(pc *pgconn.PgConn, n *pgconn.Notice) {
		if !call.IsRequest(n.Code) {
			c.notices = append(c.notices, n.Message)
			return
		}
		if c.hears != nil {
			c.hears(n)
		}
		if nonce != "" {
			attach.Do(func() {
				c.session = b.calls.Attach(database, pc.PID(), nonce, func(e *elog.ErrorData) {
					select {
					case c.failed <- e:
					default: // nobody looks
					}
					b.Log("told the client:", e)
					go func() { _ = pc.CancelRequest(context.Background()) }()
				})
			})
			c.session.Handle(n.Message, n.Detail, n.Hint)
		}
	}
	config.Tracer = c
	c.Conn, err = pgx.ConnectConfig(within(b), config)
	check(b, err)
	b.Cleanup(c.leave)
	return c
}

// leave ends the session, which the gateway notices.
func (c *client) leave() {
	_ = c.Close(context.Background())
	if c.session != nil {
		c.session.Close()
	}
}

// over says that a statement has ended.
func (c *client) over() {
	if c.session != nil {
		c.session.Over()
	}
}

func (c *client) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (c *client) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) { c.over() }

// exec runs a script of any number of statements.
func (c *client) exec(script string) {
	c.t.Helper()
	if err := c.try(script); err != nil {
		c.t.Fatalf("%s: %v", script, err)
	}
}

func (c *client) try(script string) error {
	defer c.over()
	_, err := c.PgConn().Exec(within(c.t), script).ReadAll()
	return err
}

// refuses runs a statement that has to fail, and returns the server's error.
func (c *client) refuses(script, sqlstate string) *pgconn.PgError {
	c.t.Helper()
	err := c.try(script)
	if string(connect.SQLState(err)) != sqlstate {
		c.t.Fatalf("%s: got %v, want SQLSTATE %s", script, err, sqlstate)
	}
	return testkit.ServerError(err)
}

// query returns the first column of the only row.
func query[T any](c *client, sql string, args ...any) (value T) {
	c.t.Helper()
	if err := c.QueryRow(within(c.t), sql, args...).Scan(&value); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
	return value
}
