package sql_test

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql"
)

// install installs extensions as the session's user.
func install(t *testing.T, conn *connect.Conn, names ...string) {
	t.Helper()
	for _, name := range names {
		version, err := sql.Scripts().Install(within(t), conn, name, "public")
		check(t, err)
		if want, err := sql.Scripts().Version(name); err != nil || version != want {
			t.Errorf("installed version %s of %s, want %s, %v", version, name, want, err)
		}
	}
}

func TestTheOwnerOfADatabaseInstallsListsUpgradesAndDrops(t *testing.T) {
	conn := newDatabase(t, "owner")
	install(t, conn, "pgexthost", "worker_spi")
	all, err := sql.Scripts().List(within(t), conn)
	check(t, err)
	want := []sql.Installed{{"pgexthost", "1.0", "pgexthost"}, {"worker_spi", "1.0", "public"}}
	if len(all) != 2 || all[0] != want[0] || all[1] != want[1] {
		t.Errorf("got %v", all)
	}
	from, to, err := sql.Scripts().Upgrade(within(t), conn, "pgexthost")
	if err != nil || from != "1.0" || to != "1.0" {
		t.Errorf("got %s, %s, %v", from, to, err)
	}
	wantState(t, "drop", sql.Scripts().Drop(within(t), conn, "pgexthost"), "2BP01")
	check(t, sql.Scripts().Drop(within(t), conn, "worker_spi"))
	check(t, sql.Scripts().Drop(within(t), conn, "pgexthost"))
	left := query[int](t, conn, `SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'pgexthost')
		+ (SELECT count(*) FROM pg_proc WHERE proname LIKE 'worker_spi%')`)
	if left != 0 {
		t.Errorf("%d objects are left", left)
	}
	install(t, conn, "pgexthost")
}

func TestWhatCannotBeInstalledIsRefusedWithPostgreSQLsWords(t *testing.T) {
	conn := newDatabase(t, "owner")
	refused := func(err error, sqlstate, message string) {
		t.Helper()
		wantState(t, message, err, sqlstate)
		if e := elog.AsErrorData(err, elog.Error); e.Message != message {
			t.Errorf("got %q, want %q", e.Message, message)
		}
	}
	try := func(name string) error { _, err := sql.Scripts().Install(within(t), conn, name, "public"); return err }
	refused(try("nope"), "0A000", `extension "nope" is not available`)
	refused(try("worker_spi"), "42704", `required extension "pgexthost" is not installed`)
	refused(sql.Scripts().Drop(within(t), conn, "pgexthost"), "42704", `extension "pgexthost" is not installed`)
	exec(t, conn, "CREATE SCHEMA pgexthost")
	refused(try("pgexthost"), "42P06", `schema "pgexthost" already exists`)
	exec(t, conn, "DROP SCHEMA pgexthost")
	install(t, conn, "pgexthost")
	refused(try("pgexthost"), "42710", `extension "pgexthost" already exists`)

	poor := newDatabase(t, "owner")
	_, err := sql.Scripts().Install(within(t), another(t, poor, "poor"), "pgexthost", "")
	wantState(t, "install", err, "42501")
}

func TestAnInstallationThatFailsLeavesNothing(t *testing.T) {
	conn := newDatabase(t, "owner")
	broken := fstest.MapFS{"pgexthost--1.0.sql": {Data: []byte("CREATE SCHEMA pgexthost; CREATE TABLE pgexthost.extension (); SELECT 1/0")}}
	_, err := sql.NewCatalog(broken).Install(within(t), conn, "pgexthost", "")
	wantState(t, "install", err, "22012")
	if query[bool](t, conn, "SELECT to_regnamespace('pgexthost') IS NOT NULL") {
		t.Error("the schema is there")
	}
}

// later is the catalog of a later pgexthost, whose versions are made up.
func later(t *testing.T) sql.Catalog {
	t.Helper()
	scripts := fstest.MapFS{
		"thing--1.0.sql":      {Data: []byte("CREATE TABLE @extschema@.thing (a int)")},
		"thing--1.0--1.1.sql": {Data: []byte("ALTER TABLE @extschema@.thing ADD b int")},
		"thing--1.1--1.2.sql": {Data: []byte("ALTER TABLE @extschema@.thing ADD c int")},
		"thing--1.2--1.10.sql": {
			Data: []byte("ALTER TABLE @extschema@.thing ADD d int"),
		},
		"thing--drop.sql": {Data: []byte("DROP TABLE @extschema@.thing")},
	}
	return sql.NewCatalog(scripts)
}

// only returns the part of a catalog up to a version, as an earlier pgexthost has it.
func only(versions ...string) sql.Catalog {
	scripts := fstest.MapFS{"thing--drop.sql": {Data: []byte("DROP TABLE @extschema@.thing")}}
	maps.Copy(scripts, fstest.MapFS{"thing--1.0.sql": {Data: []byte("CREATE TABLE @extschema@.thing (a int)")}})
	if len(versions) > 1 {
		scripts["thing--1.0--1.1.sql"] = &fstest.MapFile{Data: []byte("ALTER TABLE @extschema@.thing ADD b int")}
	}
	return sql.NewCatalog(scripts)
}

func TestUpgradesLeadFromEveryVersionToTheLatestAndNeverBack(t *testing.T) {
	conn := newDatabase(t, "owner")
	install(t, conn, "pgexthost")
	columns := func() int {
		return query[int](t, conn, `SELECT count(*) FROM pg_attribute WHERE attrelid = 'public.thing'::regclass AND attnum > 0`)
	}
	for _, versions := range [][]string{{"1.0"}, {"1.0", "1.1"}} {
		earlier := only(versions...)
		_, err := earlier.Install(within(t), conn, "thing", "public")
		check(t, err)
		from, to, err := later(t).Upgrade(within(t), conn, "thing")
		if err != nil || from != versions[len(versions)-1] || to != "1.10" || columns() != 4 {
			t.Errorf("upgrade from %v: %s, %s, %v, %d columns", versions, from, to, err, columns())
		}
		_, _, err = earlier.Upgrade(within(t), conn, "thing")
		e := elog.AsErrorData(err, elog.Error)
		if e == nil || e.Code != elog.InvalidParameterValue || !strings.HasPrefix(e.Message, `extension "thing" has no update path from version "1.10" to version "1.`) {
			t.Errorf("downgrade: %v", err)
		}
		check(t, earlier.Drop(within(t), conn, "thing"))
	}
	version, err := later(t).Install(within(t), conn, "thing", "public")
	if err != nil || version != "1.10" || columns() != 4 {
		t.Errorf("install: %s, %v", version, err)
	}
}

func TestADropTakesNothingThatIsNotOurs(t *testing.T) {
	conn := newDatabase(t, "owner")
	install(t, conn, "pgexthost")
	exec(t, conn, "CREATE VIEW public.mine AS SELECT id, state FROM pgexthost.requests")
	wantState(t, "drop", sql.Scripts().Drop(within(t), conn, "pgexthost"), "2BP01")
	exec(t, conn, "DROP VIEW public.mine")
	exec(t, conn, "SELECT pgexthost.launch('a', 'b', 'x')")
	wantState(t, "drop", sql.Scripts().Drop(within(t), conn, "pgexthost"), "55006")
	exec(t, conn, "SELECT pgexthost.terminate('x')")
	check(t, sql.Scripts().Drop(within(t), conn, "pgexthost"))
}

func TestAnInstallerWhoMayNotCreateRolesIsTold(t *testing.T) {
	admin := session(t, "postgres", "postgres")
	for _, role := range []string{"pgexthost_operator", "pgexthost_reader"} {
		if query[bool](t, admin, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role) {
			exec(t, admin, "ALTER ROLE "+role+" RENAME TO hidden_"+role)
			t.Cleanup(func() {
				exec(t, admin, "DROP ROLE IF EXISTS "+role)
				exec(t, admin, "ALTER ROLE hidden_"+role+" RENAME TO "+role)
			})
		}
	}
	conn := newDatabase(t, "poor")
	install(t, conn, "pgexthost")
	missing, err := sql.MissingRoles(within(t), conn)
	if err != nil || len(missing) != 2 {
		t.Fatalf("missing %v, %v", missing, err)
	}
	exec(t, admin, "CREATE ROLE pgexthost_operator; CREATE ROLE pgexthost_reader; GRANT pgexthost_operator TO alice")
	t.Cleanup(func() { exec(t, conn, "DROP OWNED BY CURRENT_USER CASCADE") })
	refuses(t, another(t, conn, "alice"), "SELECT pgexthost.launch('a', 'b')", "42501")
	_, _, err = sql.Scripts().Upgrade(within(t), conn, "pgexthost")
	check(t, err)
	exec(t, another(t, conn, "alice"), "SELECT pgexthost.launch('a', 'b')")
}

// Views run with the rights of whoever reads them: whoever owns a database must not
// get those of the host's user by a schema of that name.
func TestASchemaOfALesserRoleIsNotTouched(t *testing.T) {
	conn := newDatabase(t, "poor")
	exec(t, conn, `CREATE SCHEMA pgexthost;
		CREATE FUNCTION public.trap() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'UE001', MESSAGE = current_user; END $$;
		CREATE VIEW pgexthost.extension AS SELECT 'pgexthost' AS name, public.trap() AS version, 'pgexthost' AS schema`)
	for _, user := range []string{"postgres", "owner"} {
		host := session(t, conn.Database(), user)
		exec(t, host, "SET search_path = pg_catalog, pg_temp")
		_, err := sql.Scripts().List(within(t), host)
		wantState(t, "list", err, "42501")
		_, err = sql.Scripts().Install(within(t), host, "pgexthost", "")
		wantState(t, "install", err, "42501")
		if _, err := sql.CheckOwner(within(t), host); connect.SQLState(err) != elog.InsufficientPrivilege {
			t.Errorf("as %s: %v", user, err)
		}
	}
	// Only a relation is a lesser role's.
	admin := session(t, conn.Database(), "postgres")
	exec(t, admin, "ALTER SCHEMA pgexthost OWNER TO postgres")
	_, err := sql.Scripts().List(within(t), admin)
	wantState(t, "list", err, "42501")
	// A greater role's is no danger.
	exec(t, admin, "DROP SCHEMA pgexthost CASCADE")
	install(t, admin, "pgexthost")
	for _, want := range []bool{true, false} {
		if exists, err := sql.CheckOwner(within(t), conn); err != nil || exists != want {
			t.Errorf("got %v, %v, want %v", exists, err, want)
		}
		exec(t, admin, "DROP SCHEMA IF EXISTS pgexthost CASCADE")
	}
}
