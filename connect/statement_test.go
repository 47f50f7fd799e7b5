package connect_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
)

// statementErrors fail in each of pgx's ways.
var statementErrors = map[string]struct {
	fail func(context.Context, *connect.Conn) error
	want string
}{
	"Exec": {func(ctx context.Context, c *connect.Conn) error {
		_, err := c.Exec(ctx, "SELECT 1/0")
		return err
	}, "SELECT 1/0"},
	"unknown table": {func(ctx context.Context, c *connect.Conn) error {
		_, err := c.Exec(ctx, "DELETE FROM nowhere")
		return err
	}, "DELETE FROM nowhere"},
	"QueryRow": {func(ctx context.Context, c *connect.Conn) error {
		var n int
		return fmt.Errorf("wrapped: %w", c.QueryRow(ctx, "SELECT 1/$1", 0).Scan(&n))
	}, "SELECT 1/$1"},
	"Batch": {func(ctx context.Context, c *connect.Conn) error {
		var b pgx.Batch
		b.Queue("SELECT 1")
		b.Queue("SELECT 2/0")
		b.Queue("SELECT 3")
		return c.SendBatch(ctx, &b).Close()
	}, "SELECT 2/0"},
	"CopyFrom": {func(ctx context.Context, c *connect.Conn) error {
		if _, err := c.Exec(ctx, "CREATE TEMPORARY TABLE picky (a int CHECK (a > 1))"); err != nil {
			return errors.New("no table: " + err.Error())
		}
		_, err := c.CopyFrom(ctx, pgx.Identifier{"picky"}, []string{"a"}, pgx.CopyFromRows([][]any{{1}}))
		return err
	}, `copy "picky" from stdin`},
	"not the server's": {func(context.Context, *connect.Conn) error { return errors.New("own") }, ""},
}

func TestReportsNameTheStatementThatFailed(t *testing.T) {
	for name, tt := range statementErrors {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			conn, err := connect.Initialize(ctx, newWorker(server.ConnInfo()), "", "", 0)
			check(t, err)
			defer conn.Close(ctx)
			failure := tt.fail(ctx, conn)
			_, err = conn.Exec(ctx, "SELECT 'something else'")
			check(t, err)
			if got := conn.DescribeError(failure).Statement; got != tt.want {
				t.Errorf("got %q, want %q: %v", got, tt.want, failure)
			}
		})
	}
}

func TestAReportNeverNamesTheStatementOfAnotherError(t *testing.T) {
	ctx := testContext(t)
	conn, err := connect.Initialize(ctx, newWorker(server.ConnInfo()), "", "", 0)
	check(t, err)
	defer conn.Close(ctx)
	_, first := conn.Exec(ctx, "SELECT 1/0")
	_, second := conn.Exec(ctx, "SELECT 2/0")
	if e := conn.DescribeError(first); e.Statement != "" {
		t.Errorf("got %q", e.Statement)
	}
	if e := conn.DescribeError(second); e.Statement != "SELECT 2/0" {
		t.Errorf("got %q", e.Statement)
	}
	if e := open(t, server.ConnInfo(), "").DescribeError(second); e.Statement != "" {
		t.Errorf("a session that is not a worker's: got %q", e.Statement)
	}
}
