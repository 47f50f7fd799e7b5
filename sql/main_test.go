package sql_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/localpg"
)

// server is the real server of this package's tests.
var server *localpg.Server

// roles are what the tests find in it. The owner has what a managed server gives
// its users: databases and roles, but nothing that reaches beyond SQL.
const roles = `
	CREATE ROLE owner LOGIN CREATEDB CREATEROLE;
	CREATE ROLE poor LOGIN;
	CREATE ROLE stranger LOGIN;
	CREATE ROLE alice LOGIN;
	CREATE ROLE bob LOGIN;`

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var err error
	if server, err = localpg.Start(ctx, localpg.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = server.Stop(context.Background()) }()
	admin, err := pgx.Connect(ctx, server.ConnInfo())
	if err == nil {
		_, err = admin.Exec(ctx, roles)
		_ = admin.Close(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// limit bounds every wait of these tests.
const limit = 60 * time.Second

var databases atomic.Int32

// newDatabase makes a database of a role and returns a session of that role with it.
func newDatabase(t *testing.T, owner string) *connect.Conn {
	t.Helper()
	name := fmt.Sprintf("db%d", databases.Add(1))
	admin := session(t, "postgres", "postgres")
	exec(t, admin, "CREATE DATABASE "+name+" OWNER "+owner)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if _, err := admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return session(t, name, owner)
}

// session opens a session, which ends with the test.
func session(t *testing.T, database, user string) *connect.Conn {
	t.Helper()
	config, err := connect.ParseConninfo(server.ConnInfo() + " dbname=" + database + " user=" + user)
	check(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn, err := connect.Open(ctx, config, t.Name())
	check(t, err)
	t.Cleanup(func() { conn.HangUp(context.Background()) })
	return conn
}

// another opens a session with the database of this one as another user.
func another(t *testing.T, conn *connect.Conn, user string) *connect.Conn {
	t.Helper()
	return session(t, conn.Database(), user)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func exec(t *testing.T, conn *connect.Conn, script string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(within(t), script).ReadAll(); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}

// refuses runs a script that has to fail, and returns the server's error.
func refuses(t *testing.T, conn *connect.Conn, script, sqlstate string) *pgconn.PgError {
	t.Helper()
	_, err := conn.PgConn().Exec(within(t), script).ReadAll()
	return wantState(t, script, err, sqlstate)
}

func wantState(t *testing.T, what string, err error, sqlstate string) *pgconn.PgError {
	t.Helper()
	if string(connect.SQLState(err)) != sqlstate {
		t.Fatalf("%s: got %v, want SQLSTATE %s", what, err, sqlstate)
	}
	return asServerError(err)
}

// query returns the first column of the only row.
func query[T any](t *testing.T, conn *connect.Conn, sql string, args ...any) (value T) {
	t.Helper()
	if err := conn.QueryRow(within(t), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}
