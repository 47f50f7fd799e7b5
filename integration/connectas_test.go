//go:build linux

package integration

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/workerspi"
)

// newRole makes a role for one test that may create schemas in its database.
func newRole(t *testing.T, database, options string) (name string, oid uint32) {
	t.Helper()
	conninfo, name := sharedServer(t).ConnInfo(), database+"_role"
	execSQL(t, conninfo, fmt.Sprintf("DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '%[1]s') THEN EXECUTE 'DROP OWNED BY %[1]s'; EXECUTE 'DROP ROLE %[1]s'; END IF; END $$", name))
	execSQL(t, conninfo, "CREATE ROLE "+name+" "+options)
	execSQL(t, conninfo, "GRANT CREATE ON DATABASE "+database+" TO "+name)
	return name, query[uint32](t, conninfo, "SELECT oid FROM pg_roles WHERE rolname = '"+name+"'")
}

func oidOf(t *testing.T, database string) uint32 {
	t.Helper()
	return query[uint32](t, sharedServer(t).ConnInfo(), "SELECT oid FROM pg_database WHERE datname = '"+database+"'")
}

func ownerOf(t *testing.T, conninfo, schema string) string {
	t.Helper()
	return query[string](t, conninfo, "SELECT tableowner::text FROM pg_tables WHERE tablename = 'counted' AND schemaname = '"+schema+"'")
}

func TestWorkerSpiRunsAsTheRoleOfItsSetting(t *testing.T) {
	t.Parallel()
	conninfo := newDatabase(t, "spi_as")
	role, _ := newRole(t, "spi_as", "LOGIN")
	h := startHost(t, withServer(sharedServer(t).ConnInfo()), withSetting("shared_preload_libraries=worker_spi"),
		withSetting("worker_spi.database=spi_as"), withSetting("worker_spi.role="+role))
	h.waitLog(`LOG:  worker_spi worker 1 initialized with schema1\.counted$`)
	if got := ownerOf(t, conninfo, "schema1"); got != role {
		t.Errorf("the owner is %q", got)
	}
	h.stop()
}

// The host's user need be no superuser: it is a member of the role.
func TestWorkerSpiRunsAsARoleThatTheHostsUserIsAMemberOf(t *testing.T) {
	t.Parallel()
	conninfo := newDatabase(t, "spi_member")
	role, _ := newRole(t, "spi_member", "LOGIN")
	execSQL(t, conninfo, "DROP ROLE IF EXISTS spi_host")
	execSQL(t, conninfo, "CREATE ROLE spi_host LOGIN IN ROLE "+role)
	shareLogin(t, sharedServer(t), "spi_host")
	h := startHost(t, withServer(sharedServer(t).ConnInfo()+" user=spi_host"), withSetting("shared_preload_libraries=worker_spi"),
		withSetting("worker_spi.database=spi_member"), withSetting("worker_spi.role="+role))
	h.waitLog(`LOG:  worker_spi worker 1 initialized with schema1\.counted$`)
	if got := ownerOf(t, conninfo, "schema1"); got != role {
		t.Errorf("the owner is %q", got)
	}
	h.stop()
}

func TestWorkerSpiBypassesTheLoginCheckIfItsExtraSaysSo(t *testing.T) {
	t.Parallel()
	conninfo := newDatabase(t, "spi_nologin")
	role, roleOID := newRole(t, "spi_nologin", "NOLOGIN")
	extra := workerspi.Extra{Database: oidOf(t, "spi_nologin"), Role: roleOID}
	bypassing := extra
	bypassing.Flags = connect.BypassRoleLoginCheck
	h := startHost(t, withServer(sharedServer(t).ConnInfo()), withWorkers(workerspi.DynamicWorker(1, extra), workerspi.DynamicWorker(2, bypassing)))
	h.waitLog(`FATAL:  role "` + role + `" is not permitted to log in \(SQLSTATE 28000\)$`)
	h.waitLog(`LOG:  worker_spi dynamic worker 2 initialized with schema2\.counted$`)
	if got := ownerOf(t, conninfo, "schema2"); got != role {
		t.Errorf("the owner is %q", got)
	}
	h.stop()
}

func TestWorkerSpiBypassesAllowConnectionsIfTheHostAllowsIt(t *testing.T) {
	t.Parallel()
	admin := sharedServer(t).ConnInfo()
	newDatabase(t, "spi_closed")
	role, roleOID := newRole(t, "spi_closed", "NOLOGIN")
	execSQL(t, admin, "ALTER DATABASE spi_closed WITH ALLOW_CONNECTIONS false CONNECTION LIMIT 3")
	extra := workerspi.Extra{Database: oidOf(t, "spi_closed"), Role: roleOID, Flags: connect.BypassAllowConn | connect.BypassRoleLoginCheck}
	dir := newDataDir(t, admin)
	again := workerspi.DynamicWorker(1, extra)
	again.RestartTime = 1
	h := startHost(t, inDir(dir), withServer(admin), withWorkers(again))
	h.waitLog(`FATAL:  cannot bypass ALLOW_CONNECTIONS of database "spi_closed" \(SQLSTATE 55000\)$`)
	h.waitLog(`DETAIL:  "allow_bypass_allowconn" is off\.$`)
	appendTo(t, dir, "allow_bypass_allowconn = on\n")
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  worker_spi dynamic worker 1 initialized with schema1\.counted$`)
	if got := query[string](t, admin, "SELECT concat_ws(' ', datallowconn, datconnlimit) FROM pg_database WHERE datname = 'spi_closed'"); got != "f 3" {
		t.Errorf("the database is %q", got)
	}
	h.stop()
	execSQL(t, admin, "ALTER DATABASE spi_closed WITH ALLOW_CONNECTIONS true")
	if got := ownerOf(t, admin+" dbname=spi_closed", "schema1"); got != role {
		t.Errorf("the owner is %q", got)
	}
}

// What a killed worker leaves behind is proven in package connect.
func TestAHostPutsBackTheDatabasesThatWereLeftAjar(t *testing.T) {
	t.Parallel()
	admin := ownServer(t).ConnInfo()
	leaveAjar := func(database string) {
		execSQL(t, admin, "BEGIN; ALTER DATABASE "+database+" WITH ALLOW_CONNECTIONS true CONNECTION LIMIT 0; ALTER DATABASE "+database+
			" SET pgexthost.bypass_allowconn = '-1'; COMMIT")
	}
	state := func() string {
		return query[string](t, admin, "SELECT string_agg(concat_ws(' ', datname, datallowconn, datconnlimit), ', ' ORDER BY 1) FROM pg_database WHERE datname LIKE 'template%'")
	}
	leaveAjar("template0")
	leaveAjar("template1")
	dir := newDataDir(t, admin)
	h := startHost(t, inDir(dir), withServer(admin), withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
	h.waitLog(`LOG:  server is accepting read-write connections$`)
	h.waitLog(`LOG:  w waits$`)
	h.stop()
	if got := state(); got != "template0 t 0, template1 t 0" {
		t.Errorf("with allow_bypass_allowconn = off: %s", got)
	}
	appendTo(t, dir, "allow_bypass_allowconn = on\n")
	h = startHost(t, inDir(dir), withServer(admin), withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
	h.waitLog(`LOG:  database "template0" accepts no connections again$`)
	h.waitLog(`LOG:  database "template1" accepts no connections again$`)
	if got := state(); got != "template0 f -1, template1 f -1" {
		t.Errorf("with allow_bypass_allowconn = on: %s", got)
	}
	h.stop()
}
