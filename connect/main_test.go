package connect_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// server is the real server of this package's tests. Tests that stop or crash
// one start their own, from the template.
var (
	server   *localpg.Server
	template *localpg.Template
)

// objects are what the tests find in it.
var objects = []string{
	`CREATE DATABASE other`,
	`CREATE DATABASE "it's \odd"`,
	`CREATE DATABASE closed ALLOW_CONNECTIONS false`,
	`CREATE DATABASE private`,
	`REVOKE CONNECT ON DATABASE private FROM PUBLIC`,
	`CREATE ROLE plain LOGIN`,
	`CREATE ROLE nologin`,
	`CREATE ROLE full LOGIN CONNECTION LIMIT 0`,
	`CREATE ROLE secretive LOGIN PASSWORD 'S3cr3t'`,
	`CREATE ROLE limited LOGIN`,
	`ALTER ROLE limited SET statement_timeout = '7min'`,
	`ALTER ROLE limited SET lock_timeout = '8min'`,
	`ALTER DATABASE other SET idle_session_timeout = '9min'`,
}

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	ctx := context.Background()
	var err error
	if template, err = localpg.NewTemplate(ctx, localpg.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = template.Close() }()
	server, err = localpg.Start(ctx, localpg.Options{
		TCP: true, Populate: template.Populate,
		HBA: []string{"local all secretive scram-sha-256", "host all secretive all scram-sha-256"},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = server.Stop(ctx) }()
	conn, err := pgx.Connect(ctx, server.ConnInfo())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, sql := range objects {
		if _, err := conn.Exec(ctx, sql); err != nil {
			fmt.Fprintln(os.Stderr, sql, err)
			return 1
		}
	}
	_ = conn.Close(ctx)
	return m.Run()
}
