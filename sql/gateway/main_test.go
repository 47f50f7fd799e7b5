package gateway

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/internal/testkit"
)

// theServer is the real server of this package's tests, and tlsServer one that takes
// nobody over TCP without TLS.
var (
	theServer = testkit.Server{Options: localpg.Options{TCP: true, HBA: hba, Populate: populate}, Setup: roles}
	tlsServer = testkit.Server{Options: localpg.Options{TCP: true, HBA: tlsHBA, Settings: []string{"ssl=on"}, Populate: populateWithCertificate}, Setup: roles}
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

const roles = `
	CREATE ROLE scrammer LOGIN SUPERUSER PASSWORD 's3cret';
	CREATE ROLE plain LOGIN PASSWORD 's3cret';
	CREATE ROLE trusted LOGIN;
	CREATE ROLE peerless LOGIN;
	CREATE ROLE rejected LOGIN;
	SET password_encryption = 'md5';
	CREATE ROLE md5er LOGIN PASSWORD 's3cret';`

func TestMain(m *testing.M) {
	if conninfo := os.Getenv(onlyConnect); conninfo != "" {
		connectAndTell(conninfo)
		return
	}
	defer func() { closeTemplate() }()
	defer tlsServer.Stop()
	defer theServer.Stop()
	m.Run()
}

// theTemplate is what all servers are copies of, made for the first of them.
var theTemplate = sync.OnceValues(func() (*localpg.Template, error) {
	template, err := localpg.NewTemplate(context.Background(), localpg.Options{})
	if err == nil {
		closeTemplate = template.Close
	}
	return template, err
})

var closeTemplate = func() error { return nil }

func populate(ctx context.Context, dir string) error {
	template, err := theTemplate()
	if err != nil {
		return err
	}
	return template.Populate(ctx, dir)
}

// startServer starts a server for a test that stops it, or wants other settings.
func startServer(t testing.TB, settings ...string) *localpg.Server {
	t.Helper()
	return testkit.Start(t, localpg.Options{TCP: true, HBA: hba, Settings: settings, Populate: populate}, roles)
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
