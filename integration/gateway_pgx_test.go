//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// pgx through a gateway, with those of its features that lean on the protocol.

func pgxSession(t *testing.T) (context.Context, *gatewayHost, *pgx.Conn) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), limit)
	t.Cleanup(stop)
	g := startGateway(t, privateServer(t))
	conn := connectThrough(t, g, "postgres")
	if _, err := conn.Exec(ctx, "CREATE TEMPORARY TABLE items (id int PRIMARY KEY, name text)"); err != nil {
		t.Fatal(err)
	}
	return ctx, g, conn
}

func TestABatchOfPgxIsDoneAsAWholeOrNotAtAll(t *testing.T) {
	ctx, _, conn := pgxSession(t)
	batch := &pgx.Batch{}
	for i := range 1000 {
		batch.Queue("INSERT INTO items VALUES ($1, $2)", i, strings.Repeat("n", i))
	}
	batch.Queue("SELECT count(*)::int FROM items")
	results := conn.SendBatch(ctx, batch)
	for range 1000 {
		if _, err := results.Exec(); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	if err := errors.Join(results.QueryRow().Scan(&n), results.Close()); err != nil || n != 1000 {
		t.Fatalf("%d rows, %v", n, err)
	}

	failing := &pgx.Batch{}
	failing.Queue("INSERT INTO items VALUES (2000, 'x')")
	failing.Queue("INSERT INTO items VALUES (1, 'there already')")
	failing.Queue("INSERT INTO items VALUES (2001, 'x')")
	err := conn.SendBatch(ctx, failing).Close()
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "23505" || pgErr.ConstraintName != "items_pkey" {
		t.Errorf("the batch ended with %v", err)
	}
	if err := conn.QueryRow(ctx, "SELECT count(*)::int FROM items").Scan(&n); err != nil || n != 1000 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// Errors inside of a pipeline cost what comes up to the next Sync, and nothing else.
func TestErrorsInAPipelineOfPgxAreWhereTheyBelong(t *testing.T) {
	ctx, _, conn := pgxSession(t)
	pipeline := conn.PgConn().StartPipeline(ctx)
	const groups = 100
	for i := range groups {
		for _, sql := range []string{"SELECT 'first'", fmt.Sprintf("SELECT 1/(%d %% 3)", i), "SELECT 'last'"} {
			pipeline.SendQueryParams(sql, nil, nil, nil, nil)
		}
		if err := pipeline.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for len(got) < groups {
		var group []string
		for done := false; !done; {
			result, err := pipeline.GetResults()
			if err != nil {
				pgErr, ok := errors.AsType[*pgconn.PgError](err)
				if !ok {
					t.Fatal(err)
				}
				group = append(group, pgErr.Code)
				continue
			}
			switch r := result.(type) {
			case *pgconn.ResultReader:
				read := r.Read()
				if read.Err != nil {
					group = append(group, read.Err.(*pgconn.PgError).Code) //nolint:errorlint // a panic says what else it is
				} else {
					group = append(group, string(read.Rows[0][0]))
				}
			case *pgconn.PipelineSync:
				done = true
			}
		}
		got = append(got, strings.Join(group, " "))
	}
	if err := pipeline.Close(); err != nil {
		t.Error(err)
	}
	for i, group := range got {
		if want := []string{"first 22012", "first 1 last", "first 0 last"}[i%3]; group != want {
			t.Errorf("group %d: %q, not %q", i, group, want)
		}
	}
}

func TestCopyFromOfPgxTakesAllRowsOrNone(t *testing.T) {
	ctx, _, conn := pgxSession(t)
	const rows = 200000
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"items"}, []string{"id", "name"}, pgx.CopyFromSlice(rows, func(i int) ([]any, error) { return []any{i, "row"}, nil }))
	if err != nil || n != rows {
		t.Fatalf("%d rows, %v", n, err)
	}
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"items"}, []string{"id", "name"}, pgx.CopyFromSlice(rows, func(i int) ([]any, error) { return []any{rows + i%(rows-1), "row"}, nil }))
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "23505" {
		t.Errorf("got %v", err)
	}
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"items"}, []string{"id", "name"}, pgx.CopyFromFunc(func() ([]any, error) { return nil, errors.New("no more of it") }))
	if err == nil {
		t.Error("no error")
	}
	var sum int
	if err := conn.QueryRow(ctx, "SELECT count(*)::int FROM items").Scan(&sum); err != nil || sum != rows {
		t.Errorf("%d rows, %v", sum, err)
	}
}

// A cached statement whose result has another shape by now is the server's error
// that pgx knows how to deal with.
func TestPgxNoticesWhenACachedStatementIsStale(t *testing.T) {
	ctx, _, conn := pgxSession(t)
	read := func() error {
		_, err := pgx.CollectRows(must(conn.Query(ctx, "SELECT * FROM items WHERE id > $1", 0)), pgx.RowToMap)
		return err
	}
	if err := errors.Join(read(), read()); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "ALTER TABLE items ADD more int"); err != nil {
		t.Fatal(err)
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](read()); !ok || pgErr.Code != "0A000" {
		t.Errorf("got %v", pgErr)
	}
	if err := read(); err != nil {
		t.Errorf("prepared anew: %v", err)
	}
}

// must is for calls of pgx whose error its rows have as well.
func must(rows pgx.Rows, _ error) pgx.Rows { return rows }

func TestPgxHearsNoticesAndNotificationsOfOtherSessions(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), limit)
	defer stop()
	server := privateServer(t)
	g := startGateway(t, server)
	config, err := pgx.ParseConfig(g.conninfo("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	var notices []string
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices = append(notices, n.Severity+" "+n.Message) }
	listener, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close(context.WithoutCancel(ctx))
	if _, err := listener.Exec(ctx, "LISTEN gateway_test; DO $$ BEGIN RAISE NOTICE 'a'; RAISE INFO 'b'; END $$"); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(notices, []string{"NOTICE a", "INFO b"}) {
		t.Errorf("notices: %q", notices)
	}
	for i, p := range []place{g.place(), direct(server)} { // from either side of the gateway
		payload := strings.Repeat(fmt.Sprint(i), 7000)
		other, err := pgx.Connect(ctx, p.conninfo("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Exec(ctx, "SELECT pg_notify('gateway_test', $1)", payload); err != nil {
			t.Fatal(err)
		}
		n, err := listener.WaitForNotification(ctx) // idle: nothing but the notification wakes it
		if err != nil {
			t.Fatal(err)
		}
		if n.Payload != payload || n.PID != other.PgConn().PID() {
			t.Errorf("notification %q of %d", n.Payload, n.PID)
		}
		_ = other.Close(ctx)
	}
}

// A client that stops reading amid a long result and goes away takes its statement
// with it, and nothing of anybody else's.
func TestAResultThatNobodyWantsEndsWithItsClient(t *testing.T) {
	g := startGateway(t, privateServer(t))
	const endless = "SELECT 'endless', repeat('x', 1000), generate_series(1, 2000000000)"
	conn := connectThrough(t, g, "postgres")
	reader := conn.PgConn().Exec(t.Context(), endless)
	if !reader.NextResult() || !reader.ResultReader().NextRow() {
		t.Fatal(reader.Close())
	}
	g.eventually("it to run", func() bool { return g.running(t, "SELECT 'endless'") == 1 })
	_ = conn.PgConn().Conn().Close()
	g.eventually("its end", func() bool { return g.running(t, "SELECT 'endless'") == 0 })
}

func TestLargeObjectsOfPgxAreReadAndWrittenInPieces(t *testing.T) {
	ctx, _, conn := pgxSession(t)
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	objects := tx.LargeObjects()
	oid, err := objects.Create(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	object, err := objects.Open(ctx, oid, pgx.LargeObjectModeRead|pgx.LargeObjectModeWrite)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("0123456789abcdef", 1<<16)
	if _, err := io.Copy(struct{ io.Writer }{object}, strings.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	if _, err := object.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(object)
	if err != nil || string(got) != want {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Error(err)
	}
}
