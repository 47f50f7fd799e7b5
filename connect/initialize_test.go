package connect_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestEmptyNamesMeanTheHostsOwnDatabaseAndUser(t *testing.T) {
	w := newWorker(server.ConnInfo())
	conn, err := connect.Initialize(testContext(t), w, "", "", 0)
	check(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	if got := query(t, conn, "SELECT current_database()"); got != "postgres" || conn.Database() != got || w.database != got {
		t.Errorf("database: got %q, %q, %q", got, conn.Database(), w.database)
	}
	if got := query(t, conn, "SELECT current_user"); got != conn.User() {
		t.Errorf("user: got %q, %q", got, conn.User())
	}
	if got := query(t, conn, "SELECT oid::text FROM pg_database WHERE datname = current_database()"); got != strconv.Itoa(int(conn.DatabaseOID())) {
		t.Errorf("OID: got %s, %d", got, conn.DatabaseOID())
	}
	if !strings.HasPrefix(conn.ServerVersion(), server.Version()) {
		t.Errorf("version: got %q", conn.ServerVersion())
	}
	if w.session != conn {
		t.Error("the worker did not get the session")
	}
}

func TestDatabaseByName(t *testing.T) {
	for _, name := range []string{"other", `it's \odd`} {
		conn := open(t, server.ConnInfo(), name)
		if got := query(t, conn, "SELECT current_database()"); got != name || conn.Database() != name {
			t.Errorf("got %q, %q, want %q", got, conn.Database(), name)
		}
	}
}

func TestOwnUserMayBeNamed(t *testing.T) {
	own := open(t, server.ConnInfo(), "")
	conn, err := connect.Initialize(testContext(t), newWorker(server.ConnInfo()), "other", own.User(), 0)
	check(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	roleOID, err := strconv.Atoi(query(t, own, "SELECT oid::text FROM pg_roles WHERE rolname = current_user"))
	check(t, err)
	byOID, err := connect.InitializeByOID(testContext(t), newWorker(server.ConnInfo()), conn.DatabaseOID(), uint32(roleOID), 0)
	check(t, err)
	defer func() { _ = byOID.Close(context.Background()) }()
	if byOID.User() != own.User() || byOID.Database() != "other" || byOID.DatabaseOID() != conn.DatabaseOID() {
		t.Errorf("got user %q, database %q", byOID.User(), byOID.Database())
	}
}

func TestMaintenanceDatabaseByOIDNeedsOneConnection(t *testing.T) {
	own := open(t, server.ConnInfo(), "")
	w := newWorker(server.ConnInfo())
	w.name = "only one"
	conn, err := connect.InitializeByOID(testContext(t), w, own.DatabaseOID(), 0, 0)
	check(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	if got := query(t, own, "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'only one'"); got != "1" {
		t.Errorf("got %s connections", got)
	}
	zero, err := connect.InitializeByOID(testContext(t), newWorker(server.ConnInfo()), 0, 0, 0)
	check(t, err)
	defer func() { _ = zero.Close(context.Background()) }()
	if zero.Database() != "postgres" {
		t.Errorf("OID 0: got %q", zero.Database())
	}
}

func TestRefusalsByName(t *testing.T) {
	as := func(user string) string { return server.ConnInfo() + " user=" + user }
	for name, tt := range map[string]struct {
		conninfo, database, role string
		flags                    connect.Flags
		code                     elog.SQLState
		message                  string
		hint                     string
	}{
		"no such database":       {server.ConnInfo(), "nowhere", "", 0, "3D000", `database "nowhere" does not exist`, ""},
		"closed database":        {server.ConnInfo(), "closed", "", 0, "55000", `database "closed" is not currently accepting connections`, ""},
		"no right":               {as("plain"), "private", "", 0, "42501", `permission denied for database "private"`, ""},
		"no such own user":       {as("nobody"), "", "", 0, "28000", `role "nobody" does not exist`, ""},
		"own user without login": {as("nologin"), "", "", 0, "28000", `role "nologin" is not permitted to log in`, ""},
		"full":                   {as("full"), "", "", 0, "53300", `too many connections for role "full"`, "max_connections"},
		"wrong password":         {as("secretive") + " password=wrong", "", "", 0, "28P01", `password authentication failed for user "secretive"`, "Check the password"},
		"no password":            {as("secretive") + " passfile=/dev/null", "", "", 0, "28P01", `password authentication failed for user "secretive"`, "No password was found"},
		"no such role":           {server.ConnInfo(), "", "nobody", 0, "28000", `role "nobody" does not exist`, ""},
		"role without login":     {server.ConnInfo(), "", "nologin", 0, "28000", `role "nologin" is not permitted to log in`, ""},
		"unknown flag":           {server.ConnInfo(), "", "", 0x8, "22023", "invalid connection flags: 0x8", ""},
		"bad conninfo":           {"hostaddr=1", "", "", 0, "22023", `connection parameter "hostaddr" is not supported`, "host"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := connect.Initialize(testContext(t), newWorker(tt.conninfo), tt.database, tt.role, tt.flags)
			e := report(t, err)
			if e.Level != elog.Fatal || e.Code != tt.code || e.Message != tt.message || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("got %v %s %q, HINT %q", e.Level, e.Code, e.Message, e.Hint)
			}
			if strings.Contains(e.Error()+e.Hint, "wrong") {
				t.Errorf("the password shows: %+v", e)
			}
		})
	}
}

func TestServersRefusalWrapsItsError(t *testing.T) {
	_, err := connect.Initialize(testContext(t), newWorker(server.ConnInfo()), "nowhere", "", 0)
	var server *pgconn.PgError
	var connecting *pgconn.ConnectError
	if !errors.As(err, &server) || server.Code != "3D000" {
		t.Errorf("got %T", err)
	}
	if errors.As(err, &connecting) {
		t.Error("the error holds the connection settings, with the password")
	}
}

func TestRefusalsByOID(t *testing.T) {
	own := open(t, server.ConnInfo(), "")
	oid := func(sql string) uint32 {
		n, err := strconv.ParseUint(query(t, own, sql), 10, 32)
		check(t, err)
		return uint32(n)
	}
	role := func(name string) uint32 { return oid("SELECT oid::text FROM pg_roles WHERE rolname = '" + name + "'") }
	database := func(name string) uint32 {
		return oid("SELECT oid::text FROM pg_database WHERE datname = '" + name + "'")
	}
	for name, tt := range map[string]struct {
		database, role uint32
		flags          connect.Flags
		code           elog.SQLState
		message        string
	}{
		"no such database":   {4294967295, 0, 0, "3D000", "database 4294967295 does not exist"},
		"closed database":    {database("closed"), 0, 0, "55000", `database "closed" is not currently accepting connections`},
		"no such role":       {0, 4294967295, 0, "28000", "role with OID 4294967295 does not exist"},
		"role without login": {database("other"), role("nologin"), 0, "28000", `role "nologin" is not permitted to log in`},
		"the role first":     {4294967295, role("nologin"), 0, "28000", `role "nologin" is not permitted to log in`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorker(server.ConnInfo())
			w.name = "refused by OID"
			_, err := connect.InitializeByOID(testContext(t), w, tt.database, tt.role, tt.flags)
			if e := report(t, err); e.Level != elog.Fatal || e.Code != tt.code || e.Message != tt.message {
				t.Errorf("got %v %s %q", e.Level, e.Code, e.Message)
			}
			eventually(t, "the connection of the lookup is closed", func() bool {
				return query(t, own, "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'refused by OID'") == "0"
			})
		})
	}
}

func TestRightPasswordIsUsed(t *testing.T) {
	conn := open(t, server.ConnInfoTCP()+" user=secretive password=S3cr3t", "")
	if got := query(t, conn, "SELECT current_user"); got != "secretive" {
		t.Errorf("got %q", got)
	}
}

func TestEndOfContextWhileConnectingReturnsItsCause(t *testing.T) {
	cause := errors.New("because")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if _, err := connect.Initialize(ctx, newWorker(server.ConnInfo()), "", "", 0); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}
