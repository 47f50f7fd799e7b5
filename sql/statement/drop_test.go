package statement_test

import (
	"reflect"
	"testing"

	"github.com/pgexthost/pgexthost/sql/scanner"
)

// family is three extensions that need each other, one after the other.
var family = map[string]string{
	"base--1.sql": "CREATE FUNCTION base() RETURNS int LANGUAGE sql AS 'SELECT 1'", "base--drop.sql": "DROP FUNCTION base -- that is all",
	"middle.control": "requires = 'base'\n", "middle--1.sql": "CREATE TABLE middle (a int DEFAULT @extschema:base@.base())", "middle--drop.sql": "DROP TABLE middle",
	"top.control": "requires = 'middle'\n", "top--1.sql": "CREATE VIEW top AS SELECT * FROM middle", "top--drop.sql": "DROP VIEW top",
	"stays--1.sql": "",
}

func drop(names ...string) scanner.DropExtension { return scanner.DropExtension{Names: names} }

func TestADropNamesWhatDependsAndCascadesTakeIt(t *testing.T) {
	catalog, _ := shipped(t, family)
	c := newDatabase(t, "owner", with(catalog))
	c.must(scanner.CreateExtension{Name: "top", Cascade: true}, "CREATE EXTENSION")
	e := c.fails(drop("base"), "2BP01", "cannot drop extension base because other objects depend on it")
	if want := (message{"2BP01", "cannot drop extension base because other objects depend on it",
		"extension middle depends on extension base\nextension top depends on extension middle", "Use DROP ... CASCADE to drop the dependent objects too.", ""}); e != want {
		t.Errorf("got %+v", e)
	}
	c.fails(drop("middle", "base"), "2BP01", "cannot drop desired object(s) because other objects depend on them")
	c.sql("CREATE VIEW mine AS SELECT base() AS one")
	e = c.fails(drop("base", "top", "middle"), "2BP01", "cannot drop extension base because other objects depend on it")
	if e.Detail != "view mine depends on function base()" || e.Hint != "Use DROP ... CASCADE to drop the dependent objects too." || e.Context != "" {
		t.Errorf("got %+v", e)
	}
	c.wants("SELECT count(*) FROM pgexthost.extension", "4")

	cascade := scanner.DropExtension{Names: []string{"base"}, Cascade: true}
	c.sql("BEGIN; CREATE VIEW others AS SELECT * FROM top")
	o := c.must(cascade, "DROP EXTENSION")
	want := []message{
		{Code: "00000", Message: "drop cascades to 2 other objects", Detail: "drop cascades to extension middle\ndrop cascades to extension top"},
		{Code: "00000", Message: "drop cascades to view others"},
		{Code: "00000", Message: "drop cascades to view mine"},
	}
	for i := range o.Notices {
		o.Notices[i].Context = "" // the last two are the server's own, and hidden by psql
	}
	if !reflect.DeepEqual(o.Notices, want) {
		t.Errorf("got %+v", o.Notices)
	}
	c.wants("SELECT string_agg(name, ' ') FROM pgexthost.extension", "pgexthost")
	c.sql("ROLLBACK")
	c.wants("SELECT one FROM mine", "1")
	c.sql("DROP VIEW mine")
	c.must(drop("base", "middle", "top"), "DROP EXTENSION")
	c.wants("SELECT count(*) FROM pg_class WHERE relname IN ('middle', 'top')", "0")
}

func TestTheHostsAndTheServersAreDroppedTogether(t *testing.T) {
	catalog, _ := shipped(t, map[string]string{"a.control": "requires = 'hstore'\n", "a--1.sql": "CREATE TABLE a (h hstore)", "a--drop.sql": "DROP TABLE a"})
	c := newDatabase(t, "owner", with(catalog))
	if c.query("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'hstore')") != "t" {
		t.Skip("this installation has no hstore")
	}
	c.must(scanner.CreateExtension{Name: "a", Cascade: true}, "CREATE EXTENSION")
	o := c.must(scanner.DropExtension{Names: []string{"nope", "hstore", "a"}, IfExists: true}, "DROP EXTENSION")
	if len(o.Notices) != 1 || o.Notices[0].Message != `extension "nope" does not exist, skipping` {
		t.Errorf("got %+v", o.Notices)
	}
	c.wants("SELECT count(*) FROM pg_extension WHERE extname = 'hstore'", "0")
	c.wants("SELECT count(*) FROM pgexthost.extension WHERE name = 'a'", "0")
	c.fails(drop("a"), "42704", `extension "a" does not exist`)
	// One of that name that the server has installed is the server's.
	both, _ := shipped(t, map[string]string{"hstore--9.sql": ""})
	c.sql("CREATE EXTENSION hstore VERSION '1.4'")
	c.env = with(both)
	c.fails(scanner.CreateExtension{Name: "hstore"}, "42710", `extension "hstore" already exists`)
	c.must(scanner.AlterExtensionUpdate{Name: "hstore", To: "1.5"}, "ALTER EXTENSION")
	c.wants("SELECT extversion FROM pg_extension WHERE extname = 'hstore'", "1.5")
	c.must(scanner.AlterExtensionUpdate{Name: "hstore"}, "ALTER EXTENSION")
	c.must(drop("hstore"), "DROP EXTENSION")
	c.wants("SELECT count(*) FROM pg_extension WHERE extname = 'hstore'", "0")
}

func TestWhatCannotBeDroppedStays(t *testing.T) {
	catalog, _ := shipped(t, family)
	c := newDatabase(t, "owner", with(catalog))
	c.must(scanner.CreateExtension{Name: "stays"}, "CREATE EXTENSION")
	c.fails(drop("stays"), "0A000", `extension "stays" cannot be dropped`)
	c.must(scanner.CreateExtension{Name: "base"}, "CREATE EXTENSION")
	c.sql("UPDATE pgexthost.extension SET name = 'gone', requires = '{base,pgexthost}' WHERE name = 'stays'")
	c.fails(scanner.DropExtension{Names: []string{"base"}, Cascade: true}, "0A000", `extension "gone" cannot be dropped`)
	c.sql("DELETE FROM pgexthost.extension WHERE name = 'gone'; SELECT pgexthost.launch('a', 'b', 'x')")
	c.must(drop("base"), "DROP EXTENSION")
	for _, cascade := range []bool{false, true} {
		e := c.fails(scanner.DropExtension{Names: []string{"pgexthost"}, Cascade: cascade}, "55006", `cannot drop extension "pgexthost" because workers run`)
		if e.Detail != "Requests that are pending or started: 1. Rows of pgexthost.worker: 0." {
			t.Errorf("got %+v", e)
		}
	}
	c.sql("SELECT pgexthost.terminate('x'); CREATE SCHEMA app")
	c.must(scanner.CreateExtension{Name: "base", Schema: "app"}, "CREATE EXTENSION")
	c.sql("DROP SCHEMA app CASCADE")
	e := c.fails(drop("base"), "3F000", `schema "app" of extension "base" does not exist any more`)
	c.sql("DELETE FROM pgexthost.extension WHERE name = 'base'")
	if want := "If it has another name now, say so: UPDATE pgexthost.extension SET schema = '…' WHERE name = 'base'. If it was dropped: DELETE FROM pgexthost.extension WHERE name = 'base'."; e.Hint != want {
		t.Errorf("hint %q", e.Hint)
	}
	c.must(drop("pgexthost"), "DROP EXTENSION")
}

func TestAnUpdateFollowsTheScripts(t *testing.T) {
	catalog, dir := shipped(t, map[string]string{
		"a.control": "default_version = '3'\nrequires = 'base'\n", "base--1.sql": "",
		"a--1.sql": "CREATE TABLE a (one int)", "a--1--2.sql": "ALTER TABLE a ADD two int", "a--2--3.sql": "ALTER TABLE @extschema@.a ADD three int",
		"a--3--2.sql": "ALTER TABLE a DROP three", "a--1--9.sql": "SELECT nonsense",
	})
	c := newDatabase(t, "owner", with(catalog))
	c.sql("CREATE SCHEMA app")
	update := func(to string) scanner.AlterExtensionUpdate {
		return scanner.AlterExtensionUpdate{Name: "a", To: to}
	}
	c.fails(update(""), "42704", `extension "a" does not exist`)
	c.must(scanner.CreateExtension{Name: "a", Version: "1", Schema: "app", Cascade: true}, "CREATE EXTENSION")
	columns := func(want string) {
		t.Helper()
		c.wants("SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'app.a'::regclass AND attnum > 0 AND NOT attisdropped", want)
	}
	c.fails(update("7"), "22023", `extension "a" has no update path from version "1" to version "7"`)
	c.fails(update("7--8"), "22023", `invalid extension version name: "7--8"`)
	e := c.fails(update("9"), "42703", `column "nonsense" does not exist`)
	if want := `extension script file "` + dir + `/a--1--9.sql", near line 1`; e.Context != want {
		t.Errorf("context %q, want %q", e.Context, want)
	}
	c.must(update(""), "ALTER EXTENSION")
	columns("one two three")
	o := c.must(update("3"), "ALTER EXTENSION")
	if len(o.Notices) != 1 || o.Notices[0] != (message{Code: "00000", Message: `version "3" of extension "a" is already installed`}) {
		t.Errorf("got %+v", o.Notices)
	}
	// A script that leads back is used, if it is asked for.
	c.must(update("2"), "ALTER EXTENSION")
	columns("one two")
	c.wants("SELECT version FROM pgexthost.extension WHERE name = 'a'", "2")
	c.sql("DELETE FROM pgexthost.extension WHERE name = 'base'")
	c.fails(update(""), "42704", `required extension "base" is not installed`)
}

// An upgrade gives rights to roles that somebody has made since, as that of the
// program does.
func TestAnUpdateOfTheSchemaGivesTheRightsAgain(t *testing.T) {
	c := newDatabase(t, "owner", own())
	c.must(scanner.CreateExtension{Name: "pgexthost"}, "CREATE EXTENSION")
	c.sql("REVOKE ALL ON SCHEMA pgexthost FROM pgexthost_operator")
	o := c.must(scanner.AlterExtensionUpdate{Name: "pgexthost"}, "ALTER EXTENSION")
	if len(o.Notices) != 1 || o.Notices[0].Message != `version "1.0" of extension "pgexthost" is already installed` {
		t.Errorf("got %+v", o.Notices)
	}
	c.wants("SELECT has_schema_privilege('pgexthost_operator', 'pgexthost', 'USAGE')", "t")
}
