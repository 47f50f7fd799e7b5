package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// trap is a schema pgexthost whose view tells that it was used. Whoever owns it could
// do there what the client may do.
const trap = `CREATE SCHEMA pgexthost AUTHORIZATION trusted; CREATE VIEW pgexthost.pg_stat_activity AS SELECT 'redirected'::text AS usename;
	ALTER VIEW pgexthost.pg_stat_activity OWNER TO trusted; GRANT USAGE ON SCHEMA pgexthost TO PUBLIC; GRANT SELECT ON pgexthost.pg_stat_activity TO PUBLIC`

// trapped is a database with a trap. It returns how to connect there.
func trapped(t *testing.T, name string) (at func(conninfo string) string) {
	t.Helper()
	d := direct(t)
	_, err := d.Exec(testContext(t), "CREATE DATABASE "+name)
	check(t, err)
	t.Cleanup(func() { _, _ = d.Exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)") })
	at = func(conninfo string) string { return strings.Replace(conninfo, "dbname=postgres", "dbname="+name, 1) }
	_, err = open(t, at(sharedServer(t).ConnInfo())).Exec(testContext(t), trap)
	check(t, err)
	return at
}

// wasRedirected reports whether a client's pg_stat_activity is that of the schema.
func wasRedirected(t *testing.T, conn *pgx.Conn) bool {
	t.Helper()
	return one(t, conn, "SELECT ((SELECT coalesce(min(usename::text), '') FROM pg_stat_activity) = 'redirected')::text") == "true"
}

func TestNamesLeadToASchemaOnlyOfWhomTheHostCanTrust(t *testing.T) {
	at := trapped(t, "trap_owner")
	b := shared(t)
	for _, user := range []string{"postgres", "trusted"} {
		if wasRedirected(t, open(t, at(b.unix(user)))) {
			t.Errorf("the schema of another role's gets the rights of %s", user)
		}
	}
	lesser := newBed(t, strings.Replace(sharedServer(t).ConnInfo(), "user=postgres", "user=trusted", 1))
	if !wasRedirected(t, open(t, at(lesser.unix("trusted")))) || !wasRedirected(t, open(t, at(lesser.unix("plain")))) {
		t.Error("the schema of the host's user is not used")
	}
	if wasRedirected(t, open(t, at(lesser.unix("postgres")))) {
		t.Error("the schema of a lesser role gets the rights of a superuser")
	}
	_, err := open(t, at(sharedServer(t).ConnInfo())).Exec(testContext(t), "ALTER SCHEMA pgexthost OWNER TO postgres")
	check(t, err)
	if !wasRedirected(t, open(t, at(b.unix("postgres")))) || !wasRedirected(t, open(t, at(lesser.unix("postgres")))) {
		t.Error("the schema of a superuser is not used")
	}
}

// What is asked between the client's statements is not to be noticed.
func TestAskingTakesNothingFromTheClient(t *testing.T) {
	at := trapped(t, "trap_ask")
	_, err := open(t, at(sharedServer(t).ConnInfo())).Exec(testContext(t), "ALTER SCHEMA pgexthost OWNER TO postgres")
	check(t, err)
	p := shared(t).dialUnix(t)
	p.startup("trusted", "database", "trap_ask")
	until[*pgproto3.ReadyForQuery](p)
	hears := func(want string, messages ...[]byte) {
		t.Helper()
		p.raw(slicesOf(messages...))
		if want != "" {
			if row := until[*pgproto3.DataRow](p); string(row.Values[0]) != want {
				t.Errorf("got %s, want %s", row.Values[0], want)
			}
		}
		until[*pgproto3.ReadyForQuery](p)
	}
	const named = "\x00SELECT usename FROM pg_stat_activity\x00\x00\x00"
	bound, executed, sync := msg('B', "\x00\x00\x00\x00\x00\x00\x00\x00"), msg('E', "\x00\x00\x00\x00\x01"), msg('S', "")
	hears("", msg('P', "\x00SELECT 'prepared'\x00\x00\x00"), sync)
	hears("", msg('P', "one"+named), sync)
	hears("prepared", bound, executed, sync)

	hears("", msg('Q', "BEGIN\x00"))
	hears("1", msg('P', "\x00SELECT generate_series(1, 2)\x00\x00\x00"), bound, executed, sync)
	hears("", msg('P', "two"+named), sync)
	hears("2", executed, sync)
	hears("", msg('Q', "COMMIT; BEGIN\x00"))
	hears("redirected", msg('Q', "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT usename FROM pg_stat_activity\x00"))
}

// Drivers send several statements at once, and keep what they have prepared.
func TestNamesAreRedirectedWithinTheFirstPipeline(t *testing.T) {
	at := trapped(t, "trap_pipeline")
	check(t, execute(t, open(t, at(sharedServer(t).ConnInfo())), "ALTER SCHEMA pgexthost OWNER TO postgres"))
	b := shared(t)
	const look = "SELECT usename::text FROM pg_stat_activity LIMIT 1"
	for name, opening := range map[string]string{
		"BEGIN in the pipeline": "",
		"in a transaction":      "BEGIN",
		"in a transaction that has begun with another mode": "BEGIN ISOLATION LEVEL SERIALIZABLE",
	} {
		conn := open(t, at(b.unix("postgres")))
		check(t, execute(t, conn, opening))
		batch := &pgconn.Batch{}
		if opening == "" {
			batch.ExecParams("BEGIN", nil, nil, nil, nil)
		}
		batch.ExecParams("SELECT 1", nil, nil, nil, nil)
		batch.ExecParams(look, nil, nil, nil, nil)
		results, err := conn.PgConn().ExecBatch(testContext(t), batch).ReadAll()
		check(t, err)
		if got := string(results[len(results)-1].Rows[0][0]); got != "redirected" {
			t.Errorf("%s: got the row of %q", name, got)
		}
	}
	conn := open(t, at(b.unix("postgres")))
	var queue pgx.Batch
	queue.Queue("SELECT 1")
	queue.Queue(look)
	results := conn.SendBatch(testContext(t), &queue)
	_, err := results.Exec()
	check(t, err)
	var got string
	check(t, results.QueryRow().Scan(&got))
	check(t, results.Close())
	if got != "redirected" {
		t.Errorf("prepared with others: got the row of %q", got)
	}
}

func TestAskingForAPipelineTakesNoSnapshotBeforeIts(t *testing.T) {
	at := trapped(t, "trap_first")
	check(t, execute(t, open(t, at(sharedServer(t).ConnInfo())), "ALTER SCHEMA pgexthost OWNER TO postgres"))
	for _, first := range []string{"Set Transaction ISOLATION LEVEL SERIALIZABLE", "SET LOCAL transaction_isolation = 'serializable'"} {
		conn := open(t, at(shared(t).unix("postgres")))
		check(t, execute(t, conn, "BEGIN"))
		batch := &pgconn.Batch{}
		batch.ExecParams(first, nil, nil, nil, nil)
		batch.ExecParams("SELECT usename FROM pg_stat_activity LIMIT 1", nil, nil, nil, nil)
		_, err := conn.PgConn().ExecBatch(testContext(t), batch).ReadAll()
		check(t, err)
		check(t, execute(t, conn, "BEGIN; "+first+"; SELECT usename FROM pg_stat_activity LIMIT 1; ROLLBACK"))
	}
}

// A time-out or a cancel request that hits what is asked was meant for the client's
// statement.
func TestAnEndWhileAskingIsTheStatementsOwn(t *testing.T) {
	at := trapped(t, "trap_timeout")
	conn, other := open(t, at(shared(t).unix("postgres"))), open(t, at(sharedServer(t).ConnInfo()))
	check(t, execute(t, other, "BEGIN; LOCK TABLE pg_namespace"))
	observer := direct(t)
	const look = "SELECT usename FROM pg_stat_activity"
	for name, run := range map[string]func(ctx context.Context) error{
		"simple": func(ctx context.Context) error { _, err := conn.PgConn().Exec(ctx, look).ReadAll(); return err },
		"extended": func(ctx context.Context) error {
			return conn.PgConn().ExecParams(ctx, look, nil, nil, nil, nil).Read().Err
		},
		"prepared": func(ctx context.Context) error {
			_, err := conn.PgConn().Prepare(ctx, "a statement", look, nil)
			return err
		},
	} {
		for _, begin := range []string{"SELECT 1", "BEGIN; SAVEPOINT s"} {
			check(t, execute(t, conn, begin+"; SET statement_timeout = 100"))
			if err := run(testContext(t)); sqlState(err) != "57014" || !strings.Contains(err.Error(), "statement timeout") {
				t.Errorf("%s, %s: got %v", name, begin, err)
			}
			check(t, execute(t, conn, "ROLLBACK; SET statement_timeout = 0; "+begin))
			failed := make(chan error, 1)
			go func() { failed <- run(testContext(t)) }()
			eventually(t, "the question waits", func() bool {
				return one(t, observer, "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND pid = $1", int(conn.PgConn().PID())) == "1"
			})
			check(t, conn.PgConn().CancelRequest(testContext(t)))
			if err := <-failed; sqlState(err) != "57014" || !strings.Contains(err.Error(), "user request") {
				t.Errorf("%s, %s: got %v", name, begin, err)
			}
			check(t, execute(t, conn, "ROLLBACK"))
		}
	}
	check(t, execute(t, other, "ROLLBACK"))
	check(t, execute(t, conn, look))
}

// execute runs statements as a text.
func execute(t *testing.T, conn *pgx.Conn, sql string) error {
	t.Helper()
	_, err := conn.PgConn().Exec(testContext(t), sql).ReadAll()
	return err
}

// Whoever has made a mistake has not written the schema's name.
func TestAnErrorIsInTheClientsWords(t *testing.T) {
	at := trapped(t, "trap_words")
	d := open(t, at(sharedServer(t).ConnInfo()))
	check(t, execute(t, d, "ALTER SCHEMA pgexthost OWNER TO postgres"))
	conn := open(t, at(shared(t).unix("postgres")))
	for _, sql := range []string{"SELECT 1, pg_terminate_backend('a', 'b', 'c')", "SELECT nosuch FROM pg_stat_activity"} {
		want, _ := errors.AsType[*pgconn.PgError](execute(t, d, sql))
		got, _ := errors.AsType[*pgconn.PgError](execute(t, conn, sql))
		if got == nil || got.Message != want.Message || got.Position != want.Position || got.Hint != want.Hint {
			t.Errorf("%s: got %+v, want %+v", sql, got, want)
		}
	}
}

func TestAnErrorHasNoContextOfTheHostsFunctions(t *testing.T) {
	const outer = "PL/pgSQL function mine() line 3 at PERFORM\nSQL statement \"SELECT pgexthost.launch(1)\""
	for context, want := range map[string]string{
		"": "",
		"PL/pgSQL function pgexthost.sessions() line 5 at RAISE": "",
		"SQL expression \"coalesce(pgexthost.signal_worker(1),\n\t\t2)\"\nPL/pgSQL-Funktion pgexthost.pg_terminate_backend(integer) Zeile 8 bei RETURN": "",
		"PL/pgSQL function pgexthost.call(text,text) line 5 at RAISE\nPL/pgSQL function pgexthost.launch(text) line 5 at RETURN\n" + outer:              outer,
		outer: outer,
		"PL/pgSQL function mine() line 1 at EXECUTE\nPL/pgSQL function notpgexthost.call() line 1 at RETURN": "PL/pgSQL function mine() line 1 at EXECUTE\nPL/pgSQL function notpgexthost.call() line 1 at RETURN",
	} {
		if got := withoutOwnContext(context); got != want {
			t.Errorf("of %q is left %q, want %q", context, got, want)
		}
	}
	h := newHosted(t)
	poor := open(t, h.conninfo("trusted"))
	for _, sql := range []string{
		"SELECT pg_terminate_backend(pg_backend_pid(), -1)", "SELECT pg_reload_conf()",
		fmt.Sprintf("SELECT pg_cancel_backend(%d)", h.connect(t).PgConn().PID()), "SELECT pg_terminate_backend(-1, -1)",
	} {
		told, _ := errors.AsType[*pgconn.PgError](execute(t, poor, sql))
		if told == nil || told.Where != "" || told.ConstraintName != "" {
			t.Errorf("%s: got %+v", sql, told)
		}
	}
	do(t, poor, "CREATE TEMP TABLE t(); CREATE FUNCTION pg_temp.mine() RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN pgexthost.pg_reload_conf(); END'")
	told, _ := errors.AsType[*pgconn.PgError](execute(t, poor, "SELECT pg_temp.mine()"))
	if told == nil || !strings.Contains(told.Where, "mine() line 1 at RETURN") || strings.Contains(told.Where, "function pgexthost.") {
		t.Errorf("got %+v", told)
	}
}

// A server may have a library of the same name as the host's, of which it does not
// want to be told.
func TestASettingThatTheServerHasAlreadyIsNamed(t *testing.T) {
	s := &session{first: map[string]string{"worker_spi.naptime": "10"}}
	told := fields{{'S', "FATAL"}, {'V', "FATAL"}, {'C', "55P02"}, {'M', `parameter "worker_spi.naptime" cannot be changed now`}}
	if got := s.contested(told); got != "worker_spi.naptime" {
		t.Errorf("got %q", got)
	}
	told[3].value = `parameter "other.naptime" cannot be changed now`
	if got := s.contested(told); got != "" {
		t.Errorf("got %q", got)
	}
	told[3].value = `parameter "worker_spi.naptime" cannot be changed now`
	s.traffic.answer('I')
	if got := s.contested(told); got != "" {
		t.Errorf("a session that has begun: got %q", got)
	}
}
