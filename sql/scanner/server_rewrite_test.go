package scanner

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// hostsOwn are relations and functions that look like the server's, as the host's do.
const hostsOwn = `
	CREATE SCHEMA pgexthost;
	CREATE TABLE pgexthost.activity AS TABLE pg_catalog.pg_stat_activity WITH NO DATA;
	CREATE VIEW pgexthost.pg_stat_activity AS TABLE pgexthost.activity;
	CREATE FUNCTION pgexthost.pg_terminate_backend(int, bigint DEFAULT 0) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
	CREATE FUNCTION pgexthost.pg_cancel_backend(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
	CREATE FUNCTION pgexthost.pg_reload_conf() RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
	CREATE TABLE t (a int UNIQUE, pg_stat_activity int);`

// redirect rewrites a text as the gateway does.
func redirect(sql string) (string, Positions, int) {
	var edits []Edit
	for _, s := range Scan(sql, usual) {
		for _, r := range s.References {
			edits = append(edits, Edit{r.Start, r.End, "pgexthost." + r.Name})
		}
	}
	text, p := Rewrite(sql, edits, usual)
	return text, p, len(edits)
}

// serversName is a call of the server's own function, or the function that its own
// view reads, in a plan.
var serversName = regexp.MustCompile(`pg_stat_get_activity|(^|[^.\w])pg_(terminate_backend|cancel_backend|reload_conf)\(`)

func TestARedirectedStatementIsTheSameWithoutTheServersOwn(t *testing.T) {
	conn := session(t)
	exec(t, conn, "BEGIN;"+hostsOwn)
	for sql := range strings.Lines(`
		SELECT * FROM pg_stat_activity
		SELECT pg_stat_activity FROM pg_stat_activity
		SELECT pg_stat_activity.*, pg_stat_activity.pid AS x FROM ONLY (pg_stat_activity) ORDER BY pg_stat_activity.pid, x
		SELECT pg_stat_activity.pid, pg_catalog.pg_stat_activity.query, count(*) FROM pg_catalog.pg_stat_activity GROUP BY 1, 2
		SELECT a.pid FROM pg_class c JOIN pg_stat_activity a ON a.pid = c.oid::int, LATERAL (SELECT a.pid FROM pg_stat_activity b WHERE b.pid = a.pid) d
		SELECT extract(epoch FROM pg_stat_activity.query_start), trim(FROM query) FROM pg_catalog /* a */ . pg_stat_activity
		SELECT pg_terminate_backend(pid), pg_catalog.pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid IS DISTINCT FROM pg_backend_pid()
		SELECT * FROM (SELECT pid FROM pg_stat_activity) pg_stat_activity WHERE pg_stat_activity.pid = 1
		SELECT a FROM ROWS FROM (pg_terminate_backend(1), pg_cancel_backend(2)) WITH ORDINALITY AS x(a, b)
		SELECT 1 FROM ((pg_stat_activity a CROSS JOIN pg_class b) CROSS JOIN pg_database)
		SELECT DISTINCT ON (pid) pg_terminate_backend(pid) FROM pg_stat_activity NATURAL JOIN (SELECT pid FROM pg_stat_activity) x
		SELECT (SELECT max(pid) FROM pg_stat_activity), array(SELECT pid FROM pg_stat_activity) UNION ALL SELECT 1, NULL FROM pg_stat_activity ORDER BY 1
		SELECT pg_cancel_backend(x), t.pg_stat_activity FROM t, generate_series(1, 2) pg_cancel_backend(x)
		SELECT pg_cancel_backend.x FROM (VALUES (1), (2)) AS pg_cancel_backend(x) WHERE pg_cancel_backend(x)
		WITH pg_stat_activity AS (SELECT pid FROM pg_catalog.pg_stat_activity) SELECT * FROM pg_stat_activity
		WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a, pg_stat_activity WHERE n < 3) CYCLE n SET c USING p SELECT pg_reload_conf() FROM a
		TABLE pg_stat_activity
		VALUES ((SELECT count(*) FROM pg_stat_activity)), (1)
		SELECT 1 WHERE EXISTS (TABLE pg_stat_activity) AND pg_reload_conf()
		INSERT INTO t (a, pg_stat_activity) SELECT pid, 1 FROM pg_stat_activity ON CONFLICT (a) DO UPDATE SET a = 1, pg_stat_activity = pg_cancel_backend(2)::int
		UPDATE t SET a = pg_stat_activity.pid, pg_stat_activity = 3 FROM pg_stat_activity WHERE pg_cancel_backend(1) RETURNING t.pg_stat_activity
		DELETE FROM t USING pg_stat_activity s JOIN t u ON u.a = s.pid WHERE t.a = s.pid RETURNING pg_terminate_backend(s.pid)
		WITH d AS (DELETE FROM t USING pg_stat_activity s RETURNING s.pid) SELECT * FROM d WHERE pg_cancel_backend(pid)
	`) {
		if sql = strings.TrimSpace(sql); sql == "" {
			continue
		}
		text, _, count := redirect(sql)
		before, err := conn.Prepare(within(t), "", sql, nil)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		after, err := conn.Prepare(within(t), "", text, nil)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if columns(before) != columns(after) {
			t.Errorf("%s: got the columns %s, want %s", text, columns(after), columns(before))
		}
		if count == 0 || !serversName.MatchString(plan(t, conn, sql)) || serversName.MatchString(plan(t, conn, text)) {
			t.Errorf("%s: the server's own is in the plan:\n%s", text, plan(t, conn, text))
		}
	}
}

func columns(s *pgconn.StatementDescription) string {
	var names []string
	for _, f := range s.Fields {
		names = append(names, f.Name)
	}
	return fmt.Sprint(names)
}

func plan(t *testing.T, conn *pgconn.PgConn, sql string) string {
	t.Helper()
	result, err := conn.Exec(within(t), "EXPLAIN VERBOSE "+sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var lines []string
	for _, row := range result[0].Rows {
		lines = append(lines, string(row[0]))
	}
	return strings.Join(lines, "\n")
}

func TestAnErrorIsWhereTheServerFindsItInTheClientsText(t *testing.T) {
	conn := session(t)
	exec(t, conn, "DROP SCHEMA IF EXISTS pgexthost CASCADE; DROP TABLE IF EXISTS t;"+hostsOwn)
	t.Cleanup(func() { exec(t, conn, "DROP SCHEMA pgexthost CASCADE; DROP TABLE t") })
	for sql := range strings.Lines(`
		SELECT 'ü', nope FROM pg_stat_activity
		SELECT * FROM pg_stat_activity WHERE nope
		SELECT pg_cancel_backend(1), 'ü日', nope FROM pg_stat_activity
		SELECT pg_reload_conf() FROM pg_stat_activity a, pg_catalog . pg_stat_activity b WHERE a.pid = 'ü' || b.nope
		SELECT 'ü', pg_cancel_backend('x'::point)
		SELECT pg_reload_conf(), pg_catalog.pg_reload_conf(1) + nope
		SELECT * FROM pg_stat_activity WHERE = 1
		SELECT 'ü', 1 FROM pg_stat_activity; SELECT pg_reload_conf(), 1 / 'x'
		SELECT 'ü'; SELECT pg_reload_conf(); SELECT FROM pg_stat_activity LIMIT 'x'
		WITH a AS (TABLE pg_stat_activity) SELECT pg_stat_activity.pid FROM a
		INSERT INTO t SELECT pid, 'ü', 3 FROM pg_stat_activity
		SELECT 1 FROM pg_stat_activity pg_stat_activity;;; SELECT pg_reload_conf() FROM nope
	`) {
		if sql = strings.TrimSpace(sql); sql == "" {
			continue
		}
		text, p, count := redirect(sql)
		want, got := position(t, conn, sql), position(t, conn, text)
		if count == 0 || want == 0 || p.Original(got) != want {
			t.Errorf("%s: got %d, which leads back to %d, want %d", text, got, p.Original(got), want)
		}
	}
}

// position is where the server finds an error.
func position(t *testing.T, conn *pgconn.PgConn, sql string) int {
	t.Helper()
	_, err := conn.Exec(within(t), sql).ReadAll()
	var failure *pgconn.PgError
	if !errors.As(err, &failure) {
		t.Fatalf("%s: got %v", sql, err)
	}
	return int(failure.Position)
}
