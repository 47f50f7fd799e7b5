package gateway

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// whose says which view a session's statements read.
func whose(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	const sql = "SELECT pg_typeof(a)::text FROM pg_stat_activity a LIMIT 1"
	simple := one(t, conn, sql)
	var extended string
	check(t, conn.QueryRow(testContext(t), sql, pgx.QueryExecModeExec).Scan(&extended))
	if simple != extended {
		t.Errorf("simple: %s, extended: %s", simple, extended)
	}
	return strings.TrimSuffix(simple, "pg_stat_activity")
}

func TestNamesOfTheHostsAreRedirectedWhereTheyMayBe(t *testing.T) {
	h := newHosted(t)
	conn, poor, elsewhere := h.connect(t), open(t, h.conninfo("trusted")), open(t, h.unix("postgres"))
	expect := func(when string, conn *pgx.Conn, want string) {
		t.Helper()
		if got := whose(t, conn); got != want {
			t.Errorf("%s: the view is in %q", when, got)
		}
	}
	expect("usually", conn, "pgexthost.")
	expect("for everybody", poor, "pgexthost.")
	expect("in a database without the schema", elsewhere, "")
	do(t, conn, "BEGIN")
	expect("in a transaction", conn, "pgexthost.")
	do(t, conn, "ROLLBACK; REVOKE USAGE ON SCHEMA pgexthost FROM PUBLIC")
	expect("for who may not use the schema", poor, "")
	expect("for its owner", conn, "pgexthost.")

	check(t, h.process.store.Override("gateway_compat", "off"))
	check(t, h.gateway.configure())
	expect("switched off", conn, "")
}

// The client knows its own words alone.
func TestAnErrorInARedirectedStatementIsWhereTheClientWroteIt(t *testing.T) {
	h := newHosted(t)
	p := h.dialUnix(t)
	p.startup("postgres", "database", h.database)
	readyForQuery(p)
	const plain, redirected = "SELECT 1 WHERE nosuch", "SELECT a.pid FROM pg_stat_activity a, pg_stat_activity b WHERE 'é' = nosuch"
	place := func(sql string) int32 { return int32(len([]rune(sql[:strings.Index(sql, "nosuch")])) + 1) }
	for _, tt := range []struct {
		name string
		say  []byte
		want []int32 // one for each ReadyForQuery
	}{
		{"a Query", msg('Q', redirected+"\x00"), []int32{place(redirected)}},
		{"a Parse", slicesOf(msg('P', "\x00"+redirected+"\x00\x00\x00"), msg('S', "")), []int32{place(redirected)}},
		{"behind others", slicesOf(msg('P', "x\x00SELECT 1\x00\x00\x00"), msg('P', "\x00"+redirected+"\x00\x00\x00"), msg('S', "")), []int32{place(redirected)}},
		{
			"before others, and behind them", slicesOf(
				msg('P', "\x00"+plain+"\x00\x00\x00"), msg('P', "\x00"+redirected+"\x00\x00\x00"), msg('S', ""),
				msg('Q', redirected+"\x00"), msg('Q', plain+"\x00")),
			[]int32{place(plain), place(redirected), place(plain)},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.raw(tt.say)
			for _, want := range tt.want {
				if got := errorBeforeReady(t, p).Position; got != want {
					t.Errorf("the error is at %d, not at %d", got, want)
				}
			}
		})
	}
}

// readyForQuery receives up to the first ReadyForQuery.
func readyForQuery(p *peer) {
	p.t.Helper()
	until[*pgproto3.ReadyForQuery](p)
}

// errorBeforeReady is the error that comes before the next ReadyForQuery.
func errorBeforeReady(t *testing.T, p *peer) (told pgproto3.ErrorResponse) {
	t.Helper()
	for {
		switch m := p.receive().(type) {
		case *pgproto3.ErrorResponse:
			told = *m
		case *pgproto3.ReadyForQuery:
			return told
		}
	}
}

// A command of the host's is the client's own: its tag, its transaction, its errors.
func TestACommandIsTheClientsOwn(t *testing.T) {
	announceSettings(t, ofLibrary("lib.value", "0"))
	h := newHosted(t)
	conn := h.connect(t)
	results, err := conn.PgConn().Exec(testContext(t), "BEGIN; CREATE EXTENSION worker_spi; ROLLBACK").ReadAll()
	check(t, err)
	if got := results[1].CommandTag.String(); got != "CREATE EXTENSION" {
		t.Errorf("the tag is %s", got)
	}
	if got := one(t, conn, "SELECT count(*)::text FROM pgexthost.extension WHERE name = 'worker_spi'"); got != "0" {
		t.Error("it is there after a ROLLBACK")
	}
	const alter = "ALTER SYSTEM SET lib.value = '1'"
	for _, several := range []string{alter + "; SELECT 1", "SELECT 1; " + alter} {
		expectState(t, try(t, conn, several), "25001")
	}
	do(t, conn, "BEGIN")
	expectState(t, try(t, conn, alter), "25001")
	do(t, conn, "ROLLBACK")
	if !h.host.hasAltered() {
		t.Error("a setting was changed within a transaction")
	}
	do(t, conn, alter)
	if !h.host.hasAltered("lib.value=1") {
		t.Error("the host was not told")
	}
}

// Whoever wants to see a server's sessions, or to terminate some, may want that
// because there are too many.
func TestNamesAreTheServersWhereCallsCannotBeAnswered(t *testing.T) {
	admin := direct(t)
	do(t, admin, "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0; GRANT postgres TO crowded")
	t.Cleanup(func() { do(t, admin, "DROP ROLE crowded") })
	h := newHostedAs(t, "crowded")
	config, err := pgx.ParseConfig(h.conninfo("postgres"))
	check(t, err)
	var heard []string
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { heard = append(heard, n.Severity+" "+n.Code+" "+n.Message) }
	conn, err := pgx.ConnectConfig(testContext(t), config)
	check(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	if got := whose(t, conn); got != "" {
		t.Errorf("the view is in %q", got)
	}
	const warning = "WARNING 53300 could not find out about background workers"
	if want := []string{warning, warning}; !slices.Equal(heard, want) { // of a simple query, and of an extended one
		t.Errorf("heard %q, want %q", heard, want)
	}
	if got := one(t, conn, "SELECT pg_terminate_backend(-1)::text"); got != "false" {
		t.Errorf("got %s", got)
	}
	do(t, admin, "ALTER ROLE crowded CONNECTION LIMIT -1")
	if got := whose(t, conn); got != "pgexthost." {
		t.Errorf("once there is room: the view is in %q", got)
	}
}
