package sql_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/testkit"
)

// server is the real server of this package's tests. The owner has what a managed
// one gives its users: databases and roles, but nothing that reaches beyond SQL.
var server = testkit.Server{Setup: `
	CREATE ROLE owner LOGIN CREATEDB CREATEROLE;
	CREATE ROLE poor LOGIN;
	CREATE ROLE stranger LOGIN;
	CREATE ROLE alice LOGIN;
	CREATE ROLE bob LOGIN;`}

var check, within = testkit.Check, testkit.Context

func TestMain(m *testing.M) {
	defer server.Stop()
	m.Run()
}

// newDatabase makes a database of a role and returns a session of that role with it.
func newDatabase(t *testing.T, owner string) *connect.Conn {
	t.Helper()
	return session(t, server.NewDatabase(t, owner), owner)
}

// session opens a session, which ends with the test.
func session(t *testing.T, database, user string) *connect.Conn {
	t.Helper()
	config, err := connect.ParseConninfo(server.Conninfo(t, database, user))
	check(t, err)
	conn, err := connect.Open(within(t), config, t.Name())
	check(t, err)
	t.Cleanup(func() { conn.HangUp(context.Background()) })
	return conn
}

// another opens a session with the database of this one as another user.
func another(t *testing.T, conn *connect.Conn, user string) *connect.Conn {
	t.Helper()
	return session(t, conn.Database(), user)
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
	return testkit.ServerError(err)
}

// query returns the first column of the only row.
func query[T any](t *testing.T, conn *connect.Conn, sql string, args ...any) (value T) {
	t.Helper()
	if err := conn.QueryRow(within(t), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}
