//go:build linux

package integration

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// testServer is a server that tests do no harm to.
type testServer interface {
	// ConnInfo is a connection string in libpq's keyword/value form, to which
	// tests add what they want otherwise.
	ConnInfo() string
}

// shared is the server of all tests that do no harm to it.
var shared struct {
	sync.Once
	server *localpg.Server
	err    error
}

func sharedServer(t testing.TB) testServer {
	t.Helper()
	if conninfo := os.Getenv(outsideServer); conninfo != "" {
		return outside(conninfo)
	}
	return privateServer(t)
}

// privateServer is sharedServer for a test that has to know more of it.
func privateServer(t testing.TB) *localpg.Server {
	t.Helper()
	needsOwnServer(t)
	shared.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		shared.server, shared.err = localpg.Start(ctx, localpg.Options{Settings: []string{"max_connections=300"}})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

func stopSharedServer() {
	if shared.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		_ = shared.server.Stop(ctx)
	}
}

// ownServer is a server for one test.
func ownServer(t *testing.T) *localpg.Server {
	t.Helper()
	needsOwnServer(t)
	server, err := localpg.Start(t.Context(), localpg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return server
}

// newDatabase makes a database for one test and returns a connection string.
func newDatabase(t *testing.T, name string) string {
	t.Helper()
	server := sharedServer(t)
	execSQL(t, server.ConnInfo(), "DROP DATABASE IF EXISTS "+name)
	execSQL(t, server.ConnInfo(), "CREATE DATABASE "+name)
	return server.ConnInfo() + " dbname=" + name
}

func execSQL(t *testing.T, conninfo, sql string) {
	t.Helper()
	if err := withConn(t, conninfo, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql)
		return err
	}); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// query returns the first column of the first row.
func query[T any](t *testing.T, conninfo, sql string) (value T) {
	t.Helper()
	if err := withConn(t, conninfo, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, sql).Scan(&value)
	}); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func withConn(t *testing.T, conninfo string, use func(ctx context.Context, conn *pgx.Conn) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, conninfo)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return use(ctx, conn)
}
