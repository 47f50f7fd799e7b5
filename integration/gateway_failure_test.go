//go:build linux

package integration

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A call that nobody can answer: no other session sees the schema before its
// transaction is committed. The statement is told why, and no other is.
func TestACallOfASchemaThatIsNotCommittedSaysSo(t *testing.T) {
	newDatabase(t, "gw_uncommitted")
	g := startGateway(t, privateServer(t))
	conn := connectThrough(t, g, "gw_uncommitted")
	const launch = "SELECT pgexthost.launch_now('faults', 'wait', start_time => 'postmaster')"
	failure := func(sql string) *pgconn.PgError {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
		told, _ := errors.AsType[*pgconn.PgError](err)
		if told == nil {
			t.Fatalf("%s: got %v, want an error of the server", sql, err)
		}
		return told
	}
	if e := failure("BEGIN; CREATE EXTENSION pgexthost; " + launch); e.Code != "55000" || !strings.Contains(e.Hint, "commit that first") {
		t.Errorf("got %+v", e)
	}
	done := func(sql string) {
		t.Helper()
		if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	done("ROLLBACK; BEGIN; CREATE EXTENSION pgexthost; DO $$ BEGIN PERFORM " + strings.TrimPrefix(launch, "SELECT ") + "; EXCEPTION WHEN query_canceled THEN NULL; END $$")
	if e := failure("SET LOCAL statement_timeout = 50; SELECT pg_sleep(600)"); e.Code != "57014" || e.Message != "canceling statement due to statement timeout" {
		t.Errorf("got %+v", e)
	}
	done("ROLLBACK; CREATE EXTENSION pgexthost")
	g.eventually("calls to be answered", func() bool {
		var pid int
		err := conn.QueryRow(t.Context(), launch, pgx.QueryExecModeSimpleProtocol).Scan(&pid)
		return err == nil && pid > 0
	})
	g.stop()
}
