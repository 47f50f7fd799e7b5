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
	`ALTER ROLE limited SET idle_in_transaction_session_timeout = '6min'`,
	`ALTER ROLE limited SET lock_timeout = '8min'`,
	`ALTER DATABASE other SET idle_session_timeout = '9min'`,
	`ALTER DATABASE other SET extra_float_digits = 2`,
	`CREATE ROLE hijacker`,
	`CREATE DATABASE hijacked`,
	`ALTER DATABASE hijacked SET role = hijacker`,

	`CREATE ROLE insider LOGIN`,
	`GRANT CONNECT ON DATABASE private TO insider`,
	`CREATE ROLE chief LOGIN SUPERUSER`,
	`CREATE ROLE "odd \ 'role' ""x" LOGIN`,
	`CREATE ROLE settled LOGIN`,
	`ALTER ROLE settled SET work_mem = '7MB'`,
	`ALTER ROLE settled SET maintenance_work_mem = '17MB'`,
	`ALTER ROLE settled IN DATABASE other SET work_mem = '9MB'`,
	`ALTER ROLE settled SET search_path = evil, "$user", pg_catalog`,
	`ALTER ROLE settled SET log_min_duration_statement = '5s'`,
	`ALTER ROLE settled SET statement_timeout = '3min'`,
	`ALTER ROLE settled SET lock_timeout = '4min'`,
	`ALTER ROLE settled SET application_name = 'not this one'`,
	`ALTER ROLE settled SET client_encoding = 'LATIN1'`,
	`CREATE ROLE masked LOGIN`,
	`ALTER ROLE masked SET role = 'plain'`,
	`GRANT plain TO masked`,
	`GRANT hijacker TO masked`,
	`CREATE ROLE "half masked" LOGIN`,
	`ALTER ROLE "half masked" SET role = 'plain'`, // which it may not

	`CREATE ROLE member LOGIN`,
	`GRANT plain, nologin, "full", insider, chief, settled, masked, "odd \ 'role' ""x" TO member`,
	`ALTER ROLE member SET extra_float_digits = 1`,
	`CREATE ROLE outsider LOGIN NOINHERIT`,
	`GRANT insider TO outsider`,
}

func TestMain(m *testing.M) {
	if os.Getenv(onlyBypasses) != "" {
		bypassingProcess()
		return
	}
	os.Exit(runTests(m))
}

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
