package statement_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/sql/scanner"
)

// The same statements, for extensions of the server's own and for such of the host's
// with the same shape, have to lead to the same: tags, notices and errors, to the
// letter.

// pair is a session that speaks of the server's things and one that speaks of the
// host's, each with a database of its own.
type pair struct {
	theirs, ours *client
	names        *strings.Replacer // from theirs to ours
}

// as returns the sessions of another user.
func (p pair) as(user string) pair {
	return pair{p.theirs.another(user), p.ours.another(user), p.names}
}

// same runs statements, which name things as the server does, in both.
func (p pair) same(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		want := p.theirs.run(text)
		want.Error = p.renamed(want.Error)
		for i := range want.Notices {
			want.Notices[i] = p.renamed(want.Notices[i])
		}
		got := p.ours.scanned(p.names.Replace(text))
		// Which file was looked for is worth a DETAIL.
		if want.Error.Detail == "" && strings.HasPrefix(got.Error.Detail, "There is no file ") {
			got.Error.Detail = ""
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%s\nthe server's would be\n%s", p.names.Replace(text), described(got), described(want))
		}
	}
}

func (p pair) renamed(m message) message {
	return message{m.Code, p.names.Replace(m.Message), p.names.Replace(m.Detail), p.names.Replace(m.Hint), m.Context}
}

func described(o outcome) string { return strings.ReplaceAll(fmt.Sprintf("%+v", o), "\n", "\\n") }

// extensions are pairs of databases with extensions of one shape: cube and
// earthdistance, which needs it, and fuzzystrmatch; one, two and three.
func extensions(t *testing.T, owner string) pair {
	t.Helper()
	theirs := newDatabase(t, owner, bare)
	if theirs.query("SELECT count(*) FROM pg_available_extensions WHERE name IN ('cube', 'earthdistance', 'fuzzystrmatch')") != "3" {
		t.Skip("this installation lacks extensions to compare with")
	}
	version := func(name string) string {
		return theirs.query("SELECT default_version FROM pg_available_extensions WHERE name = '" + name + "'")
	}
	catalog, _ := shipped(t, map[string]string{
		"one.control": "default_version = '" + version("cube") + "'\n", "one--" + version("cube") + ".sql": "CREATE TABLE one_table ()", "one--drop.sql": "DROP TABLE one_table",
		"two.control": "requires = 'one'\n", "two--" + version("earthdistance") + ".sql": "CREATE TABLE two_table ()", "two--drop.sql": "DROP TABLE two_table",
		"three--" + version("fuzzystrmatch") + ".sql": "CREATE FUNCTION soundex(text) RETURNS text LANGUAGE sql AS 'SELECT $1'", "three--drop.sql": "DROP FUNCTION soundex;\n",
	})
	ours := newDatabase(t, owner, with(catalog))
	return pair{theirs, ours, strings.NewReplacer("cube", "one", "earthdistance", "two", "fuzzystrmatch", "three")}
}

// readable installs schema pgexthost, which the server needs none of, and lets a role
// look at it.
func (p pair) readable() {
	p.ours.t.Helper()
	p.ours.must(scanner.CreateExtension{Name: "pgexthost"}, "CREATE EXTENSION")
	p.ours.sql("GRANT pgexthost_reader TO reader")
}

func TestCreateExtensionSaysWhatTheServersDoes(t *testing.T) {
	p := extensions(t, "postgres")
	// Whoever may create something in a database may install these two.
	trusted := extensions(t, "owner")
	trusted.as("poor").same(t, "CREATE EXTENSION cube", "CREATE EXTENSION IF NOT EXISTS cube", "CREATE EXTENSION cube VERSION '9.9'", "DROP EXTENSION cube")
	trusted.readable()
	trusted.same(t, "CREATE EXTENSION fuzzystrmatch", "CREATE EXTENSION cube")
	p.readable()
	p.same(t, "CREATE EXTENSION cube VERSION '9.9'", `CREATE EXTENSION cube VERSION "a--b"`, "CREATE EXTENSION cube SCHEMA nope", "CREATE EXTENSION cube SCHEMA nope VERSION '9.9'",
		"CREATE EXTENSION earthdistance", "CREATE EXTENSION IF NOT EXISTS earthdistance SCHEMA public",
		"BEGIN READ ONLY", "CREATE EXTENSION cube", "SELECT 1", "ROLLBACK",
		"BEGIN", "CREATE EXTENSION cube", "CREATE EXTENSION earthdistance", "ROLLBACK",
		"BEGIN", "CREATE EXTENSION cube", "SAVEPOINT s", "CREATE EXTENSION cube", "ROLLBACK TO s", "COMMIT",
		"CREATE EXTENSION cube", "CREATE EXTENSION IF NOT EXISTS cube VERSION '9.9'", "DROP EXTENSION cube",
		"SET search_path = nope", "CREATE EXTENSION cube", "SET search_path = public", "SET client_min_messages = warning",
		"CREATE EXTENSION earthdistance WITH SCHEMA public CASCADE", "DROP EXTENSION cube, earthdistance", "RESET client_min_messages",
		"CREATE EXTENSION earthdistance CASCADE", "CREATE EXTENSION earthdistance CASCADE", "CREATE EXTENSION IF NOT EXISTS earthdistance CASCADE")
}

func TestDropExtensionSaysWhatTheServersDoes(t *testing.T) {
	p := extensions(t, "postgres")
	p.readable()
	p.same(t, "DROP EXTENSION cube", "DROP EXTENSION IF EXISTS cube, earthdistance", "DROP EXTENSION IF EXISTS cube CASCADE",
		"CREATE EXTENSION earthdistance CASCADE", "CREATE EXTENSION fuzzystrmatch", "DROP EXTENSION cube", "DROP EXTENSION cube RESTRICT",
		"DROP EXTENSION fuzzystrmatch, cube", "BEGIN", "DROP EXTENSION cube CASCADE", "DROP EXTENSION cube", "ROLLBACK",
		"CREATE VIEW v AS SELECT soundex('a')", "DROP EXTENSION fuzzystrmatch", "DROP EXTENSION IF EXISTS fuzzystrmatch",
		"DROP EXTENSION earthdistance, cube", "DROP EXTENSION earthdistance")
	p.as("reader").same(t, "DROP EXTENSION fuzzystrmatch", "DROP EXTENSION fuzzystrmatch CASCADE")
	// Notices of the server itself have a context, which psql does not show.
	got := p.ours.scanned("DROP EXTENSION three CASCADE")
	if len(got.Notices) != 1 || got.Notices[0].Message != "drop cascades to view v" || got.Tag != "DROP EXTENSION" {
		t.Errorf("got %s", described(got))
	}
	p.theirs.sql("DROP EXTENSION fuzzystrmatch CASCADE")
	p.same(t, "SELECT * FROM v", "DROP EXTENSION fuzzystrmatch")
}

func TestAlterExtensionSaysWhatTheServersDoes(t *testing.T) {
	p := extensions(t, "postgres")
	p.readable()
	p.same(t, "ALTER EXTENSION cube UPDATE", "ALTER EXTENSION cube UPDATE TO '9.9'", "CREATE EXTENSION cube", "ALTER EXTENSION cube UPDATE",
		"ALTER EXTENSION cube UPDATE TO '9.9'", `ALTER EXTENSION cube UPDATE TO "a--b"`, "BEGIN READ ONLY", "ALTER EXTENSION cube UPDATE", "ROLLBACK")
	p.as("reader").same(t, "ALTER EXTENSION cube UPDATE", "ALTER EXTENSION cube UPDATE TO '9.9'")
}

func TestSettingsSayWhatTheServersDo(t *testing.T) {
	theirs := newDatabase(t, "postgres", bare)
	if loaded := theirs.run("LOAD 'auto_explain'"); loaded.Error != (message{}) {
		t.Skip("this installation has no auto_explain")
	}
	env := withSettings(t)
	store := env.Settings.(*guc.Store)
	for _, d := range []guc.Definition{
		{Name: "mine.log_min_duration", Type: guc.TypeInt, Context: guc.Suset, Unit: guc.UnitMS, Min: -1, Max: 1<<31 - 1, Default: "-1"},
		{Name: "mine.log_format", Type: guc.TypeEnum, Context: guc.Suset, EnumOptions: []string{"text", "xml", "json", "yaml"}, Default: "text"},
		{Name: "mine.log_analyze", Type: guc.TypeBool, Context: guc.Suset, Default: "off"},
		{Name: "mine.sample_rate", Type: guc.TypeReal, Context: guc.Suset, MaxReal: 1, Default: "1"},
	} {
		_, err := store.Define(d)
		check(t, err)
	}
	store.MarkPrefixReserved("mine")
	ours := newDatabase(t, "postgres", env)
	// As the gateway's start-up packet would.
	p := pair{theirs, ours, strings.NewReplacer("auto_explain", "mine", "block_size", "plugin.internal", "max_connections", "plugin.fixed",
		"checkpoint_timeout", "plugin.count", "ignore_system_indexes", "plugin.early", "work_mem", "plugin.count")}
	p.same(t, "SET auto_explain.log_format = nope", "SET auto_explain.log_format = text, xml", "SET auto_explain.log_format = JSON",
		"SET auto_explain.log_min_duration = '1 x'", "SET auto_explain.log_min_duration = ''", "SET auto_explain.log_min_duration TO 5000",
		"SET auto_explain.sample_rate = 2", "SET auto_explain.sample_rate = 0.25", "SET auto_explain.log_analyze = maybe", "SET auto_explain.log_analyze TO 'yes'",
		"SET auto_explain.nope = 1", "SET LOCAL auto_explain.log_analyze = off",
		"BEGIN", "SET LOCAL auto_explain.log_analyze = off", "COMMIT", "RESET auto_explain.sample_rate", "SET auto_explain.sample_rate TO DEFAULT",
		"SET block_size = 1", "SET max_connections = 1", "SET checkpoint_timeout = 1", "RESET checkpoint_timeout", "SET checkpoint_timeout TO DEFAULT",
		"SET ignore_system_indexes = 1", "RESET ignore_system_indexes", "RESET max_connections",
		"BEGIN", "ALTER SYSTEM SET work_mem = 1", "ROLLBACK")
	for _, name := range []string{"log_format", "log_min_duration", "log_analyze"} {
		ours.wants("SHOW mine."+name, theirs.query("SHOW auto_explain."+name))
	}
	p.same(t, "SET ROLE poor", "SET auto_explain.log_format = nope", "SET auto_explain.log_format = text", "RESET auto_explain.log_format",
		"ALTER SYSTEM SET work_mem = 99", "ALTER SYSTEM RESET work_mem", "SET auto_explain.nope = 1")
	poor := p.as("poor")
	library := pair{poor.theirs, poor.ours, strings.NewReplacer("auto_explain", "worker_spi")}
	library.same(t, "LOAD 'auto_explain'")
	library.as("postgres").same(t, "LOAD 'auto_explain'", "BEGIN READ ONLY", "LOAD 'auto_explain'", "COMMIT")
}
