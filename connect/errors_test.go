package connect_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestErrorsByMeaning(t *testing.T) {
	server := func(code string) error { return fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: code}) }
	for name, tt := range map[string]struct {
		err                                     error
		code                                    elog.SQLState
		event, lost, cancelled, shutdown, rerun bool
	}{
		"nil":              {err: nil, code: "00000"},
		"plain":            {err: errors.New("x"), code: "XX000"},
		"undefined table":  {err: server("42P01"), code: "42P01"},
		"class 08":         {err: server("08P01"), code: "08P01", event: true, lost: true},
		"admin shutdown":   {err: server("57P01"), code: "57P01", event: true, shutdown: true},
		"crash shutdown":   {err: server("57P02"), code: "57P02", event: true},
		"cannot connect":   {err: server("57P03"), code: "57P03", event: true},
		"full":             {err: server("53300"), code: "53300", event: true},
		"out of memory":    {err: server("53200"), code: "53200"},
		"cancelled":        {err: server("57014"), code: "57014", cancelled: true},
		"context ended":    {err: context.Canceled, code: "57014", cancelled: true},
		"deadlock":         {err: server("40P01"), code: "40P01", rerun: true},
		"serialization":    {err: server("40001"), code: "40001", rerun: true},
		"closed":           {err: fmt.Errorf("x: %w", pgconn.ErrConnClosed), code: "08003", event: true, lost: true},
		"own report":       {err: elog.New(elog.Error, "08006", "x"), code: "08006", event: true, lost: true},
		"another's server": {err: getNothing(), code: "XX000"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := connect.SQLState(tt.err); got != tt.code {
				t.Errorf("SQLState: got %s", got)
			}
			got := [...]bool{
				connect.IsServerEvent(tt.err), connect.IsConnectionLost(tt.err), connect.IsStatementCancelled(tt.err),
				connect.IsAdminShutdown(tt.err), connect.IsSerializationFailure(tt.err),
			}
			if want := [...]bool{tt.event, tt.lost, tt.cancelled, tt.shutdown, tt.rerun}; got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// getNothing returns the error of a network connection that is not ours.
func getNothing() error {
	resp, err := http.Get("http://127.0.0.1:1/") //nolint:noctx // fails at once
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

func TestReportsKeepTheServersWords(t *testing.T) {
	conn := open(t, server.ConnInfo(), "")
	_, err := conn.Exec(testContext(t), "DO $$ BEGIN RAISE 'no' USING DETAIL = 'Detail.', HINT = 'Hint.', ERRCODE = 'ABCDE'; END $$")
	e := conn.DescribeError(err)
	if e.Level != elog.Error || e.Code != "ABCDE" || e.Message != "no" || e.Detail != "Detail." || e.Hint != "Hint." || e.Context == "" {
		t.Errorf("got %+v", e)
	}
	e = conn.DescribeError(fmt.Errorf("while at it: %w", err))
	if e.Code != "ABCDE" || e.Message != "while at it: no" || e.Hint != "Hint." {
		t.Errorf("wrapped: got %+v", e)
	}
	if connect.AsErrorData(nil, elog.Error) != nil {
		t.Error("nil became an error")
	}
}

// terminate ends a session as pg_terminate_backend does, and waits until it is gone.
func terminate(t *testing.T, conn *connect.Conn) {
	t.Helper()
	if got := query(t, open(t, server.ConnInfo(), ""), "SELECT pg_terminate_backend($1, 10000)::text", conn.BackendPid()); got != "true" {
		t.Fatalf("got %s", got)
	}
}

func TestATerminatedIdleSessionSaysSo(t *testing.T) {
	for name, conninfo := range map[string]string{
		"unix": server.ConnInfo(), "tcp": server.ConnInfoTCP(), "simple protocol": server.ConnInfo() + " default_query_exec_mode=simple_protocol",
	} {
		t.Run(name, func(t *testing.T) {
			conn := open(t, conninfo, "")
			terminate(t, conn)
			_, err := conn.Exec(testContext(t), "SELECT 1")
			if !connect.IsAdminShutdown(err) {
				t.Errorf("got %v", err)
			}
			if e := conn.DescribeError(err); e.Message != "terminating connection due to administrator command" {
				t.Errorf("got %+v", e)
			}
			_, err = conn.Exec(testContext(t), "SELECT 1")
			if !connect.IsConnectionLost(err) {
				t.Errorf("afterwards: got %v", err)
			}
		})
	}
}

func TestLossOfTheServerIsClass08(t *testing.T) {
	for name, run := range map[string]func(ctx context.Context, conn *connect.Conn) error{
		"exec": func(ctx context.Context, conn *connect.Conn) error {
			_, err := conn.Exec(ctx, "SELECT pg_sleep(1000)")
			return err
		},
		"query": func(ctx context.Context, conn *connect.Conn) error {
			err := conn.QueryRow(ctx, "SELECT pg_sleep($1)", 1000).Scan(nil)
			if elog.CodeOf(err) != elog.ConnectionFailure {
				return fmt.Errorf("without a SQLSTATE of its own: %w", err)
			}
			return err
		},
		"transaction": func(ctx context.Context, conn *connect.Conn) error {
			return conn.InTransaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "SELECT pg_sleep(1000)")
				return err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			own, err := localpg.Start(testContext(t), localpg.Options{Populate: template.Populate})
			check(t, err)
			defer func() { _ = own.Stop(context.Background()) }()
			conn := open(t, own.ConnInfo(), "")
			watcher := open(t, own.ConnInfo(), "")
			failed := make(chan error)
			go func() { failed <- run(context.Background(), conn) }()
			eventually(t, "the statement runs", func() bool {
				return query(t, watcher, "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"
			})
			check(t, own.Crash())
			err = <-failed
			if !connect.IsServerEvent(err) || !connect.IsConnectionLost(err) {
				t.Errorf("got %v", err)
			}
			if e := conn.DescribeError(err); e.Code != elog.ConnectionFailure || e.Message != "server closed the connection unexpectedly" {
				t.Errorf("got %+v", e)
			}
		})
	}
}
