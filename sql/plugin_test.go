package sql_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql"
)

// plugin is an extension as the author of a plugin ships it.
var plugin = map[string]string{
	"thing.control": "comment = 'a thing'\ndefault_version = '1.1'\nrequires = 'other, plpgsql'\n",
	"thing--1.0.sql": `\echo Use "pgexthost extension install thing" to load this file. \quit
CREATE TABLE thing (a int, owner text DEFAULT '@extowner@', home text DEFAULT '@extschema@', neighbour text DEFAULT '@extschema:other@');
CREATE FUNCTION things() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM thing; END;
CREATE FUNCTION twice(int) RETURNS int BEGIN ATOMIC SELECT 2 * $1; END;
PREPARE statement AS SELECT $1::int;
CREATE FUNCTION later() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM only_later';
SELECT other();`,
	"thing--1.0--1.1.sql": "ALTER TABLE thing ADD b int; INSERT INTO thing VALUES (1)",
	"thing--drop.sql":     "DROP FUNCTION later, things, twice; DROP TABLE thing",
	"other--1.sql":        "CREATE FUNCTION other() RETURNS int RETURN 1",
	"other--drop.sql":     "DROP FUNCTION other()",
}

// failure returns the error of an operation that has to fail.
func failure(t *testing.T, err error, sqlstate, message string) *elog.ErrorData {
	t.Helper()
	e := elog.AsErrorData(err, elog.Error)
	if e == nil || string(e.Code) != sqlstate || e.Message != message {
		t.Fatalf("got %+v, want %s %s", e, sqlstate, message)
	}
	return e
}

func installFrom(t *testing.T, c sql.Catalog, conn *connect.Conn, name, schema string) error {
	t.Helper()
	_, err := c.Install(within(t), conn, name, schema)
	return err
}

func TestAPluginsScriptsAreInstalledUpgradedAndDropped(t *testing.T) {
	conn := newDatabase(t, "owner")
	exec(t, conn, `CREATE SCHEMA app; CREATE SCHEMA "The others"`)
	dir := files(t, plugin)
	c := opened(t, dir+":$system")
	failure(t, installFrom(t, c, conn, "other", ""), "42704", `required extension "pgexthost" is not installed`)
	install(t, conn, "pgexthost")
	failure(t, installFrom(t, c, conn, "thing", "app"), "42704", `required extension "other" is not installed`)
	check(t, installFrom(t, c, conn, "other", "The others"))
	failure(t, installFrom(t, c, conn, "thing", "nope"), "3F000", `schema "nope" does not exist`)
	withoutDrop := opened(t, files(t, map[string]string{"thing--1.sql": ""}))
	failure(t, withoutDrop.Drop(within(t), conn, "thing"), "42704", `extension "thing" is not installed`)
	check(t, os.Rename(filepath.Join(dir, "extension", "thing.control"), filepath.Join(dir, "control")))
	early := maps.Clone(plugin)
	early["thing.control"] = strings.Replace(plugin["thing.control"], "1.1", "1.0", 1)
	check(t, installFrom(t, opened(t, files(t, early)), conn, "thing", "app"))
	check(t, os.Rename(filepath.Join(dir, "control"), filepath.Join(dir, "extension", "thing.control")))

	from, to, err := c.Upgrade(within(t), conn, "thing")
	if err != nil || from != "1.0" || to != "1.1" {
		t.Errorf("upgrade: %s, %s, %v", from, to, err)
	}
	got := query[string](t, conn, `SELECT concat_ws('|', owner, home, neighbour, app.things()) FROM app.thing`)
	if want := `owner|app|"The others"|1`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	all, err := c.List(within(t), conn)
	check(t, err)
	if len(all) != 3 || all[2] != (sql.Installed{Name: "thing", Version: "1.1", Schema: "app"}) {
		t.Errorf("got %v", all)
	}
	e := failure(t, c.Drop(within(t), conn, "other"), "2BP01", `cannot drop extension "other" because other extensions depend on it`)
	if e.Detail != "Those are: thing." {
		t.Errorf("got %+v", e)
	}
	check(t, c.Drop(within(t), conn, "thing"))
	check(t, c.Drop(within(t), conn, "other"))
	check(t, c.Drop(within(t), conn, "pgexthost"))
	if n := query[int](t, conn, "SELECT count(*) FROM pg_class WHERE relnamespace = 'app'::regnamespace"); n != 0 {
		t.Errorf("%d relations are left", n)
	}
}

func TestAScriptThatFailsSaysWhereAndLeavesNothing(t *testing.T) {
	conn := newDatabase(t, "owner")
	install(t, conn, "pgexthost")
	for script, want := range map[string]string{
		"CREATE TABLE t ();\n\n-- x\nSELECT 1/0;":             "22012|division by zero|4",
		"CREATE TABLE t ();\nSELECT 1,\n  nope;":              `42703|column "nope" does not exist|3`,
		"CREATE TABLE t ();\nSELECT FROM\n  WHERE;":           `42601|syntax error at or near "WHERE"|3`,
		"CREATE TABLE t ();\nCOMMIT;":                         "0A000|transaction control statements are not allowed within an extension script|2",
		"CREATE TABLE t ();\nDO $$\nBEGIN\n COMMIT;\nEND $$;": "2D000|invalid transaction termination|2",
		// What is one statement for us must be one for the server.
		"CREATE DOMAIN atomic AS int;\nCREATE TABLE t (begin atomic);\nCOMMIT;\nSELECT":     "0A000|transaction control statements are not allowed within an extension script|3",
		"CREATE TABLE t ();\nSET standard_conforming_strings = off;\nSELECT E'' '; COMMIT;": `42601|unterminated quoted string at or near "'; COMMIT;"|3`,
		"CREATE TABLE t ();\nSELECT $$;\n COMMIT;":                                          `42601|unterminated dollar-quoted string at or near "$$;` + "\n" + ` COMMIT;"|2`,
		"CREATE TABLE t ();\nCOPY t FROM stdin;\n\\.":                                       "0A000|COPY FROM STDIN and COPY TO STDOUT are not supported within an extension script|2",
		"\\echo x\nCREATE TABLE t ();\n\\set x y":                                           `42601|syntax error at or near "\"|3`,
		"CREATE TABLE t ();\nSELECT '@extschema:nobody@'::regnamespace":                     "22023|extension \"nobody\" is not required by \"thing\"|",
	} {
		dir := files(t, map[string]string{"thing--1.0.sql": script})
		wanted := strings.Split(want, "|")
		e := failure(t, installFrom(t, opened(t, dir), conn, "thing", ""), wanted[0], wanted[1])
		if place := `extension script file "` + dir + `/extension/thing--1.0.sql", near line ` + wanted[2]; wanted[2] != "" && !strings.HasSuffix(e.Context, place) {
			t.Errorf("%q: got context %q, want %q", script, e.Context, place)
		}
		if query[bool](t, conn, "SELECT to_regclass('public.t') IS NOT NULL OR EXISTS (SELECT FROM pgexthost.extension WHERE name = 'thing')") {
			t.Fatalf("%q has left something", script)
		}
	}
}

func TestAFileWithWhatIsNoTextIsRefused(t *testing.T) {
	conn := newDatabase(t, "owner")
	install(t, conn, "pgexthost")
	for _, text := range []string{"SELECT 1;\x00 SELECT 2", "SELECT '\xff'"} {
		dir := files(t, map[string]string{"thing--1.sql": text})
		failure(t, installFrom(t, opened(t, dir), conn, "thing", ""), "22021", `invalid byte sequence for encoding "UTF8" in file "`+dir+`/extension/thing--1.sql"`)
	}
}

func TestVersionsWithoutAWayAreRefused(t *testing.T) {
	conn := newDatabase(t, "owner")
	install(t, conn, "pgexthost")
	from := func(texts map[string]string) sql.Catalog { return opened(t, files(t, texts)) }
	failure(t, installFrom(t, from(map[string]string{"thing.control": ""}), conn, "thing", ""), "22023", `extension "thing" has no installation script`)
	failure(t, installFrom(t, from(map[string]string{"thing.control": "default_version = '2'", "thing--1.sql": "", "thing--3--2.sql": ""}), conn, "thing", ""),
		"22023", `extension "thing" has no installation script nor update path for version "2"`)
	failure(t, installFrom(t, from(map[string]string{"thing--1.sql": "", "thing--2--3.sql": ""}), conn, "thing", ""),
		"22023", `extension "thing" has no installation script nor update path for version "3"`)
	check(t, installFrom(t, from(map[string]string{"thing--2.sql": ""}), conn, "thing", ""))
	upgrade := func(c sql.Catalog) error { _, _, err := c.Upgrade(within(t), conn, "thing"); return err }
	failure(t, upgrade(from(map[string]string{"thing--3.sql": ""})), "22023", `extension "thing" has no update path from version "2" to version "3"`)
	dir := files(t, map[string]string{"thing--1.sql": "", "thing--2--1.sql": ""})
	e := failure(t, upgrade(opened(t, dir)), "22023", `extension "thing" has no update path from version "2" to version "1"`)
	if e.Detail != `A later version is installed than "`+dir+`/extension" has.` || e.Hint == "" {
		t.Errorf("got %+v", e)
	}
	e = failure(t, from(map[string]string{"thing--2.sql": ""}).Drop(within(t), conn, "thing"), "0A000", `extension "thing" cannot be dropped`)
	if !strings.Contains(e.Detail, `/extension/thing--drop.sql".`) {
		t.Errorf("got %+v", e)
	}
}

func TestAControlFileFixesTheSchema(t *testing.T) {
	conn := newDatabase(t, "owner")
	install(t, conn, "pgexthost")
	c := opened(t, files(t, map[string]string{"thing.control": "schema = 'its own'", "thing--1.sql": "CREATE TABLE thing ()"}))
	failure(t, installFrom(t, c, conn, "thing", "public"), "0A000", `extension "thing" must be installed in schema "its own"`)
	check(t, installFrom(t, c, conn, "thing", ""))
	exec(t, conn, `SELECT FROM "its own".thing`)
}

// The server does not keep people from dropping or renaming what an extension needs.
func TestAnExtensionWhoseSchemaIsGoneSaysWhatToDo(t *testing.T) {
	conn := newDatabase(t, "owner")
	install(t, conn, "pgexthost")
	for _, control := range []string{"", "schema = 'home'"} {
		exec(t, conn, "CREATE SCHEMA IF NOT EXISTS home")
		c := opened(t, files(t, map[string]string{"thing.control": control, "thing--1.sql": "CREATE TABLE thing ()", "thing--drop.sql": "DROP TABLE thing"}))
		check(t, installFrom(t, c, conn, "thing", "home"))
		exec(t, conn, "ALTER SCHEMA home RENAME TO house")
		_, _, err := c.Upgrade(within(t), conn, "thing")
		failure(t, err, "3F000", `schema "home" of extension "thing" does not exist any more`)
		e := failure(t, c.Drop(within(t), conn, "thing"), "3F000", `schema "home" of extension "thing" does not exist any more`)
		update, _, _ := strings.Cut(strings.TrimPrefix(e.Hint, "If it has another name now, say so: "), ". If")
		exec(t, conn, strings.Replace(update, "…", "house", 1))
		check(t, c.Drop(within(t), conn, "thing"))
		exec(t, conn, "DROP SCHEMA house")
	}
}

func TestAnExtensionIsDroppedThatWouldNeedWhatIsNotThere(t *testing.T) {
	conn := newDatabase(t, "owner")
	install(t, conn, "pgexthost")
	texts := map[string]string{"thing--1.sql": "CREATE TABLE thing ()"}
	check(t, installFrom(t, opened(t, files(t, texts)), conn, "thing", ""))
	texts["thing.control"], texts["thing--drop.sql"] = "requires = 'later, plpgsql'", "DROP TABLE thing; SELECT '@extschema:plpgsql@.pg_class'::regclass"
	check(t, opened(t, files(t, texts)).Drop(within(t), conn, "thing"))
}

// A schema's name becomes part of the script's text, even within quotes.
func TestASchemaThatWouldChangeTheScriptIsRefused(t *testing.T) {
	conn := newDatabase(t, "owner")
	install(t, conn, "pgexthost")
	c := opened(t, files(t, map[string]string{"thing--1.sql": "DO $$ BEGIN PERFORM '@extschema@'; END $$", "other--1.sql": "CREATE TABLE other ()"}))
	for _, schema := range []string{"a'b", "a$$b", `a"b`, `a\b`, `"a`, `a"`, `"`} {
		exec(t, conn, `CREATE SCHEMA "`+strings.ReplaceAll(schema, `"`, `""`)+`"`)
		failure(t, installFrom(t, c, conn, "thing", schema), "22023", `invalid character in extension "thing" schema: must not contain any of ""$'\"`)
		check(t, installFrom(t, c, conn, "other", schema))
		exec(t, conn, "DELETE FROM pgexthost.extension WHERE name = 'other'")
	}
}
