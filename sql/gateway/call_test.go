package gateway

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql/call"
)

const launchNow = "SELECT pgexthost.launch_now('lib', 'main')::text"

func TestACallIsAnsweredAndTheClientSeesNothingOfIt(t *testing.T) {
	h := newHosted(t)
	config, err := pgx.ParseConfig(h.conninfo("postgres"))
	check(t, err)
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { t.Errorf("the client got %+v", n) }
	conn, err := pgx.ConnectConfig(testContext(t), config)
	check(t, err)
	defer func() { check(t, conn.Close(testContext(t))) }()
	for range 3 {
		if got := one(t, conn, launchNow); got != "4711" {
			t.Errorf("got %s", got)
		}
	}
}

// What the answer took is given back while the session goes on.
func TestACallEndsWithItsStatement(t *testing.T) {
	h := newHosted(t)
	d, conn := direct(t), h.connect(t)
	one(t, conn, launchNow)
	eventually(t, "the locks of the answer go", func() bool {
		return one(t, d, "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = '"+h.database+"')") == "0"
	})
	if got := one(t, conn, launchNow); got != "4711" {
		t.Errorf("got %s", got)
	}
}

func TestACallEndsWithAStatementThatFails(t *testing.T) {
	h := newHosted(t)
	h.host.hold(true)
	conn := h.connect(t)
	do(t, conn, "SET statement_timeout = '100ms'")
	expectState(t, try(t, conn, launchNow), elog.QueryCanceled)
	h.host.isForgotten(t)
}

// Nobody wants the answer, so the statement does not wait for it either.
func TestACallEndsWithItsClient(t *testing.T) {
	h := newHosted(t)
	h.host.hold(true)
	p := h.dialUnix(t)
	p.startup("postgres", "database", h.database, "application_name", "leaves")
	readyForQuery(p)
	p.raw(msg('Q', launchNow+"\x00"))
	eventually(t, "the call", func() bool { return h.host.looks.Load() > 0 })
	check(t, p.conn.Close())
	d := direct(t)
	eventually(t, "the server's session ends", func() bool {
		return one(t, d, "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'leaves'") == "0"
	})
	h.host.isForgotten(t)
}

// The client learns why, not that somebody has cancelled its statement.
func TestACallThatCannotBeAnsweredSaysWhy(t *testing.T) {
	h := newHostedAs(t, "trusted") // who does not own the schema
	conn := h.connect(t)
	expectState(t, try(t, conn, launchNow), elog.ObjectNotInPrerequisite)
	if got := one(t, conn, "SELECT 'alive'"); got != "alive" {
		t.Error(got)
	}
}

// A client may raise what it likes, and hears it.
func TestWhatOnlyLooksLikeACallIsTheClients(t *testing.T) {
	h := newHosted(t)
	config, err := pgx.ParseConfig(h.conninfo("postgres"))
	check(t, err)
	var heard []string
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { heard = append(heard, n.Code+" "+n.Message) }
	conn, err := pgx.ConnectConfig(testContext(t), config)
	check(t, err)
	defer func() { check(t, conn.Close(testContext(t))) }()
	do(t, conn, `DO $$ BEGIN
		RAISE INFO 'register' USING ERRCODE = 'PX001', DETAIL = 'd', HINT = 'h';
		RAISE INFO 'DROP EXTENSION' USING ERRCODE = 'PX002', DETAIL = 'd';
	END $$`)
	if want := []string{"PX001 register", "PX002 DROP EXTENSION"}; !slices.Equal(heard, want) {
		t.Errorf("the client heard %q, want %q", heard, want)
	}
}

// Were a session taken for one that waits, its client's end would cancel what runs.
func TestWhatOnlyLooksLikeACallIsNotWaitedFor(t *testing.T) {
	answers := call.NewServer(&fakeHost{}, func() string { return "" }, func(*elog.ErrorData) {})
	defer answers.Close()
	w := newWire(t)
	w.session.calls = answers.Attach("postgres", 1, newNonce(), func(*elog.ErrorData) {})
	passOn, err := w.down.examine(w.pump, fields{{'C', "PX001"}, {'M', "register"}}.encode('N'))
	check(t, err)
	if !passOn || w.session.traffic.waits() {
		t.Errorf("passed on %v, waits %v", passOn, w.session.traffic.waits())
	}
}
