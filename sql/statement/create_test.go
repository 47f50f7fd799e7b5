package statement_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/sql"
	"github.com/pgexthost/pgexthost/sql/scanner"
)

var installing = message{Code: "00000", Message: `installing required extension "pgexthost"`}

func TestCreateExtensionWorkerSpiJustWorks(t *testing.T) {
	for _, simple := range []bool{true, false} {
		c := newDatabase(t, "owner", own())
		c.simple = simple
		o := c.must(scanner.CreateExtension{Name: "worker_spi"}, "CREATE EXTENSION")
		if !reflect.DeepEqual(o.Notices, []message{installing}) {
			t.Errorf("notices %+v", o.Notices)
		}
		c.wants("SELECT string_agg(concat_ws(' ', name, version, schema, requires, installed_by), ', ' ORDER BY name) FROM pgexthost.extension",
			"pgexthost 1.0 pgexthost {} owner, worker_spi 1.0 public {pgexthost} owner")
		c.wants("SELECT pg_typeof(worker_spi_extra(1::oid, 2::oid, '{}'))", "bytea")
		c.wants("SELECT has_schema_privilege('pgexthost_operator', 'pgexthost', 'USAGE')", "t")
	}
}

// The command and "pgexthost extension" install the same, and each upgrades and
// drops what the other has installed.
func TestACommandInstallsWhatTheProgramDoes(t *testing.T) {
	c := newDatabase(t, "owner", own())
	c.must(scanner.CreateExtension{Name: "worker_spi"}, "CREATE EXTENSION")
	const objects = `SELECT string_agg(o, E'\n' ORDER BY o) FROM (
		SELECT pg_describe_object(classid, objid, objsubid) || ' ' || coalesce(p.proacl::text, r.relacl::text, n.nspacl::text, '') FROM pg_depend d
			LEFT JOIN pg_proc p ON p.oid = d.objid LEFT JOIN pg_class r ON r.oid = d.objid LEFT JOIN pg_namespace n ON n.oid = d.objid
		WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid IN ('pgexthost'::regnamespace, 'public'::regnamespace)) AS all_of_it (o)`
	commanded := c.query(objects)
	conn := connected(t, c)
	check(t, sql.Scripts().Drop(within(t), conn, "worker_spi"))
	check(t, sql.Scripts().Drop(within(t), conn, "pgexthost"))
	c.wants("SELECT to_regnamespace('pgexthost') IS NULL", "t")
	for _, name := range []string{"pgexthost", "worker_spi"} {
		_, err := sql.Scripts().Install(within(t), conn, name, "public")
		check(t, err)
	}
	if got := c.query(objects); got != commanded || !strings.Contains(got, "pgexthost.launch(") {
		t.Errorf("the program installs\n%s\nand the command\n%s", got, commanded)
	}
	c.must(scanner.DropExtension{Names: []string{"pgexthost", "worker_spi"}}, "DROP EXTENSION")
	c.wants("SELECT to_regnamespace('pgexthost') IS NULL AND NOT EXISTS (SELECT FROM pg_proc WHERE proname LIKE 'worker_spi%')", "t")
}

func TestAnInstallationIsRolledBackWithTheClientsTransaction(t *testing.T) {
	c := newDatabase(t, "owner", own())
	c.sql("BEGIN; SAVEPOINT s")
	c.must(scanner.CreateExtension{Name: "worker_spi"}, "CREATE EXTENSION")
	c.sql("ROLLBACK TO s")
	c.wants("SELECT to_regnamespace('pgexthost') IS NULL", "t")
	c.must(scanner.CreateExtension{Name: "worker_spi"}, "CREATE EXTENSION")
	c.sql("ROLLBACK")
	c.wants("SELECT to_regnamespace('pgexthost') IS NULL", "t")
	c.sql("BEGIN")
	c.must(scanner.CreateExtension{Name: "worker_spi"}, "CREATE EXTENSION")
	c.sql("COMMIT")
	c.wants("SELECT count(*) FROM pgexthost.extension", "2")
}

// What the session has set, in whichever way, is as before: during the rest of the
// transaction and after it.
func TestTheSettingsOfTheSessionStay(t *testing.T) {
	c := newDatabase(t, "owner", own())
	const settings = "SELECT concat_ws('|', current_setting('search_path'), current_setting('client_min_messages'), current_setting('check_function_bodies'), current_setting('standard_conforming_strings'))"
	c.sql(`CREATE SCHEMA app; SET search_path = app, public; SET standard_conforming_strings = off; SET check_function_bodies = off; SET client_min_messages = error;
		BEGIN; SET search_path = app; SET LOCAL client_min_messages = log; SET LOCAL escape_string_warning = on`)
	before := c.query(settings)
	o := c.must(scanner.CreateExtension{Name: "worker_spi"}, "CREATE EXTENSION")
	c.wants(settings, before)
	c.sql("COMMIT")
	c.wants(settings, "app|error|off|off")
	c.wants("SELECT schema FROM pgexthost.extension WHERE name = 'worker_spi'", "app")
	for _, n := range o.Notices {
		if n != installing {
			t.Errorf("unexpected: %+v", n)
		}
	}
}

func TestSchemaVersionAndCascade(t *testing.T) {
	catalog, dir := shipped(t, map[string]string{
		"a.control": "default_version = '1.1'\nrequires = 'b, hstore'\n",
		"a--1.0.sql": `\echo no
CREATE TABLE a AS SELECT '@extschema@' AS home, '@extschema:b@' AS neighbour, '@extschema:hstore@' AS third, '@extowner@' AS owner;
CREATE FUNCTION later() RETURNS int LANGUAGE sql AS 'SELECT count(*)::int FROM only_later';
DO $$ BEGIN PERFORM b(); END $$; DO $pgexthost$ BEGIN PERFORM 'a=>1'::hstore; END $pgexthost$`,
		"a--1.0--1.1.sql": "ALTER TABLE a ADD b int DEFAULT 5 -- with a comment",
		"b.control":       "schema = 'of b'\n",
		"b--1.sql":        "CREATE FUNCTION b() RETURNS text LANGUAGE sql AS $$ SELECT 'ä€😀' $$",
		"c.control":       "requires = 'd'\n", "d.control": "requires = 'c'\n", "c--1.sql": "", "d--1.sql": "",
		"bad.control":   "default_version = '1'\nsurprise = 1\n",
		"self.control":  "requires = 'bad'\n",
		"self--1.sql":   "",
		"wrong--1.sql":  "SELECT 1;\n\nSELECT 1/0;",
		"commit--1.sql": "CREATE TABLE t ();\nCOMMIT",
		"other--1.sql":  "SELECT '@extschema:b@'",
	})
	c := newDatabase(t, "owner", with(catalog))
	if c.query("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'hstore')") != "t" {
		t.Skip("this installation has no hstore")
	}
	c.sql("CREATE SCHEMA app")
	create := func(name string) scanner.CreateExtension { return scanner.CreateExtension{Name: name} }
	e := c.fails(create("a"), "42704", `required extension "b" is not installed`)
	if e.Hint != "Use CREATE EXTENSION ... CASCADE to install required extensions too." {
		t.Errorf("hint %q", e.Hint)
	}
	o := c.must(scanner.CreateExtension{Name: "a", Schema: "app", Cascade: true}, "CREATE EXTENSION")
	var said []string
	for _, n := range o.Notices {
		said = append(said, n.Message)
	}
	if got := strings.Join(said, "; "); got != `installing required extension "pgexthost"; installing required extension "b"; installing required extension "hstore"` {
		t.Errorf("notices: %s", got)
	}
	c.wants("SELECT concat_ws('|', home, neighbour, third, owner, b) FROM app.a", `app|"of b"|app|owner|5`)
	c.wants(`SELECT "of b".b()`, "ä€😀")
	c.wants("SELECT version FROM pgexthost.extension WHERE name = 'a'", "1.1")

	c.fails(scanner.CreateExtension{Name: "c", Cascade: true}, "42P19", `cyclic dependency detected between extensions "c" and "d"`)
	c.fails(scanner.CreateExtension{Name: "worker_spi", Schema: "nope"}, "3F000", `schema "nope" does not exist`)
	c.fails(scanner.CreateExtension{Name: "worker_spi", Version: "2"}, "22023", `extension "worker_spi" has no installation script nor update path for version "2"`)
	c.fails(create("bad"), "42601", `unrecognized parameter "surprise" in file "`+dir+`/bad.control"`)
	c.fails(scanner.CreateExtension{Name: "self", Cascade: true}, "42601", `unrecognized parameter "surprise" in file "`+dir+`/bad.control"`)
	c.fails(create("other"), "22023", `extension "b" is not required by "other"`)
	e = c.fails(create("wrong"), "22012", "division by zero")
	if want := `extension script file "` + dir + `/wrong--1.sql", near line 3`; e.Context != want {
		t.Errorf("context %q, want %q", e.Context, want)
	}
	c.fails(create("commit"), "0A000", "transaction control statements are not allowed within an extension script")
	c.wants("SELECT to_regclass('t') IS NULL", "t")
	c.sql("SET search_path = nope")
	c.fails(create("wrong"), "3F000", "no schema has been selected to create in")
}

func TestASchemaOrOwnerThatCannotBeQuotedIsRefused(t *testing.T) {
	catalog, _ := shipped(t, map[string]string{"a--1.sql": "CREATE TABLE t AS SELECT '@extschema@'", "o--1.sql": "SELECT '@extowner@'"})
	c := newDatabase(t, `odd "role`, with(catalog))
	c.sql(`CREATE SCHEMA "it's"; CREATE SCHEMA "A schema"`)
	c.fails(scanner.CreateExtension{Name: "a", Schema: "it's"}, "22P02", `invalid character in extension "a" schema: must not contain any of ""$'\"`)
	c.fails(scanner.CreateExtension{Name: "o"}, "22P02", `invalid character in extension owner: must not contain any of ""$'\"`)
	c.must(scanner.CreateExtension{Name: "a", Schema: "A schema"}, "CREATE EXTENSION")
}

// Scripts are UTF-8, whatever the client and the server speak.
func TestScriptsKeepTheirCharacters(t *testing.T) {
	catalog, _ := shipped(t, map[string]string{"a--1.sql": "CREATE TABLE t AS SELECT 'é€' AS v"})
	env := with(catalog)
	env.ClientEncoding = "LATIN1"
	c := newDatabase(t, "owner", env)
	c.sql("SET client_encoding = 'LATIN1'")
	c.must(scanner.CreateExtension{Name: "a"}, "CREATE EXTENSION")
	c.wants(`SELECT v = U&'\00e9\20ac' FROM t`, "t")
}

func TestWhatTheHostDoesNotHaveIsTheServers(t *testing.T) {
	for _, cmd := range []scanner.Command{
		scanner.CreateExtension{Name: "hstore"}, scanner.CreateExtension{Name: "a--b"}, scanner.DropExtension{Names: []string{"hstore", "cube"}},
		scanner.AlterExtensionUpdate{Name: "hstore"}, scanner.Load{File: "auto_explain"}, scanner.Show{Name: "worker_spi.naptime"},
		scanner.Set{Name: "my.setting", Values: []string{"1"}}, scanner.Reset{Name: "my.setting"}, scanner.Reset{All: true},
		scanner.AlterSystem{Name: "work_mem", Values: []string{"1"}}, scanner.AlterSystem{Reset: true, All: true}, nil,
	} {
		if text, ok := translated(cmd, own()); ok || text != "" {
			t.Errorf("%+v becomes %s", cmd, text)
		}
		if text, ok := translated(cmd, bare); ok || text != "" {
			t.Errorf("without anything, %+v becomes %s", cmd, text)
		}
	}
}
