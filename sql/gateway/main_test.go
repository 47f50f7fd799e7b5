package gateway

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// server is the real server of this package's tests. Tests that stop one start
// their own, from the template.
var (
	server   *localpg.Server
	template *localpg.Template
)

// hba asks each role of these tests for something else. Who has no line here is
// trusted.
var hba = []string{
	"local all scrammer scram-sha-256", "host all scrammer all scram-sha-256",
	"local all md5er md5", "host all md5er all md5",
	"local all plain password", "host all plain all password",
	"local all rejected reject", "host all rejected all reject",
	"local all peerless peer", "host all peerless all reject",
	"local replication scrammer scram-sha-256", "host replication scrammer all scram-sha-256",
}

var roles = []string{
	`CREATE ROLE scrammer LOGIN SUPERUSER PASSWORD 's3cret'`,
	`CREATE ROLE plain LOGIN PASSWORD 's3cret'`,
	`CREATE ROLE trusted LOGIN`,
	`CREATE ROLE peerless LOGIN`,
	`CREATE ROLE rejected LOGIN`,
	`SET password_encryption = 'md5'`,
	`CREATE ROLE md5er LOGIN PASSWORD 's3cret'`,
}

func TestMain(m *testing.M) {
	if conninfo := os.Getenv(onlyConnect); conninfo != "" {
		connectAndTell(conninfo)
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	ctx := context.Background()
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var err error
	if template, err = localpg.NewTemplate(ctx, localpg.Options{}); err != nil {
		return fail(err)
	}
	defer func() { _ = template.Close() }()
	if server, err = startServer(ctx); err != nil {
		return fail(err)
	}
	defer func() { _ = server.Stop(ctx) }()
	return m.Run()
}

// startServer starts a server with the roles of these tests.
func startServer(ctx context.Context, settings ...string) (*localpg.Server, error) {
	return startServerWith(ctx, localpg.Options{TCP: true, Populate: template.Populate, HBA: hba, Settings: settings})
}

func startServerWith(ctx context.Context, options localpg.Options) (*localpg.Server, error) {
	s, err := localpg.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, s.ConnInfo())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, sql := range roles {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return nil, fmt.Errorf("%s: %w", sql, err)
		}
	}
	return s, nil
}

// onlyConnect makes the test binary a client that connects and says how that went:
// a client in a process of its own can be another user's.
const onlyConnect = "PGEXTHOST_TEST_ONLY_CONNECT"

func connectAndTell(conninfo string) {
	conn, err := pgx.Connect(context.Background(), conninfo)
	if err != nil {
		fmt.Print(sqlState(err), " ", err)
		return
	}
	var user string
	err = conn.QueryRow(context.Background(), "SELECT current_user").Scan(&user)
	fmt.Print("in as ", user, " ", err)
}
