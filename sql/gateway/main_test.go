package gateway

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// theServer is the real server of this package's tests, which the first of them
// starts that wants one. Tests that stop one start their own, from the template.
var theServer = sync.OnceValues(func() (*localpg.Server, error) { return startServer(context.Background()) })

var theTemplate = sync.OnceValues(func() (*localpg.Template, error) {
	return localpg.NewTemplate(context.Background(), localpg.Options{})
})

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
	code := m.Run()
	for _, stop := range stops {
		stop()
	}
	os.Exit(code)
}

// stops are what is left to be done at the end.
var stops []func()

// startServer starts a server with the roles of these tests. It stops with them.
func startServer(ctx context.Context, settings ...string) (*localpg.Server, error) {
	return startServerWith(ctx, localpg.Options{TCP: true, HBA: hba, Settings: settings})
}

func startServerWith(ctx context.Context, options localpg.Options) (*localpg.Server, error) {
	if options.Populate == nil {
		template, err := theTemplate()
		if err != nil {
			return nil, err
		}
		options.Populate = template.Populate
		stops = append(stops, func() { _ = template.Close() })
	}
	s, err := localpg.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	stops = append([]func(){func() { _ = s.Stop(context.Background()) }}, stops...)
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
