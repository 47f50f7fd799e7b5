package connect_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
)

// withTable opens a session with a table for itself.
func withTable(t *testing.T) (*fakeWorker, *connect.Conn) {
	t.Helper()
	w := newWorker(server.ConnInfo())
	conn, err := connect.Initialize(testContext(t), w, "", "", 0)
	check(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(testContext(t), "CREATE TEMP TABLE things (x int)")
	check(t, err)
	w.activity = nil
	return w, conn
}

func insert(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "INSERT INTO things VALUES (1)")
	return err
}

func things(t *testing.T, conn *connect.Conn) string {
	t.Helper()
	return query(t, conn, "SELECT count(*)::text FROM things")
}

func TestInTransactionCommits(t *testing.T) {
	_, conn := withTable(t)
	check(t, conn.InTransaction(testContext(t), insert))
	if got := things(t, conn); got != "1" {
		t.Errorf("got %s rows", got)
	}
}

func TestInTransactionRollsBackAndReturnsTheErrorAsItIs(t *testing.T) {
	_, conn := withTable(t)
	mine := errors.New("mine")
	err := conn.InTransaction(testContext(t), func(ctx context.Context, tx pgx.Tx) error {
		check(t, insert(ctx, tx))
		return mine
	})
	if err != mine { //nolint:errorlint // as it is
		t.Errorf("got %v", err)
	}
	if got := things(t, conn); got != "0" {
		t.Errorf("got %s rows", got)
	}
}

func TestInTransactionRollsBackOnAPanicWhichGoesOn(t *testing.T) {
	_, conn := withTable(t)
	func() {
		defer func() {
			if got := recover(); got != "mine" {
				t.Errorf("got panic %v", got)
			}
		}()
		_ = conn.InTransaction(testContext(t), func(ctx context.Context, tx pgx.Tx) error {
			check(t, insert(ctx, tx))
			panic("mine")
		})
	}()
	if got := things(t, conn); got != "0" {
		t.Errorf("got %s rows", got)
	}
}

func TestInTransactionRollsBackWhenTheContextHasEnded(t *testing.T) {
	_, conn := withTable(t)
	cause := errors.New("because")
	ctx, cancel := context.WithCancelCause(context.Background())
	err := conn.InTransaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		err := insert(ctx, tx)
		cancel(cause)
		return err
	})
	if !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if err := conn.InTransaction(ctx, insert); !errors.Is(err, cause) {
		t.Errorf("with an ended context: got %v", err)
	}
	if got := things(t, conn); got != "0" {
		t.Errorf("got %s rows", got)
	}
}

func TestInTransactionSaysThatACommitWasARollback(t *testing.T) {
	_, conn := withTable(t)
	err := conn.InTransaction(testContext(t), func(ctx context.Context, tx pgx.Tx) error {
		_, _ = tx.Exec(ctx, "SELECT 1/0")
		return nil
	})
	if connect.SQLState(err) != "25P02" || !errors.Is(err, pgx.ErrTxCommitRollback) {
		t.Errorf("got %v", err)
	}
}

func TestInTransactionReportsActivity(t *testing.T) {
	w, conn := withTable(t)
	check(t, conn.InTransaction(testContext(t), insert))
	want := []string{
		"active: begin", "idle in transaction",
		"active: INSERT INTO things VALUES (1)", "idle in transaction",
		"active: commit", "idle",
	}
	if !slices.Equal(w.activity, want) {
		t.Errorf("got %q", w.activity)
	}
	w.activity = nil
	_ = conn.InTransactionWith(testContext(t), pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "CREATE TABLE permanent ()")
		return err
	})
	want = []string{
		"active: begin read only", "idle in transaction",
		"active: CREATE TABLE permanent ()", "idle in transaction",
		"active: rollback", "idle",
	}
	if !slices.Equal(w.activity, want) {
		t.Errorf("after an error: got %q", w.activity)
	}
}
