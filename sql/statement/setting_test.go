package statement_test

import (
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/sql/scanner"
	"github.com/pgexthost/pgexthost/sql/statement"
)

// withSettings is an environment with a library "plugin" that has a setting of each
// context, and with a setting of the host's own.
func withSettings(t *testing.T) statement.Env {
	t.Helper()
	env := own()
	integer := guc.Definition{Type: guc.TypeInt, Min: 1, Max: 100, Default: "10"}
	named := func(name string, c guc.Context) guc.Definition {
		d := integer
		d.Name, d.Context = name, c
		return d
	}
	enum := guc.Definition{Name: "plugin.mode", Type: guc.TypeEnum, Context: guc.User, EnumOptions: []string{"fast", "slow"}, Default: "fast"}
	naptime := named("plugin.naptime", guc.User)
	naptime.Unit, naptime.Max = guc.UnitS, 86400
	store := guc.NewStore(named("work_mem", guc.Sighup))
	for _, d := range []guc.Definition{
		named("plugin.internal", guc.Internal), named("plugin.fixed", guc.Postmaster), named("plugin.count", guc.Sighup), named("plugin.early", guc.Backend),
		named("plugin.super", guc.Suset), enum, naptime, {Name: "plugin.enabled", Type: guc.TypeBool, Context: guc.User, Default: "off"},
		{Name: "plugin.text", Type: guc.TypeString, Context: guc.User},
	} {
		_, err := store.Define(d)
		check(t, err)
	}
	store.MarkPrefixReserved("plugin")
	env.Settings = store
	env.HasLibrary = func(file string) bool { return file == "worker_spi" || file == "$libdir/plugins/worker_spi" }
	return env
}

func set(name string, values ...string) scanner.Set { return scanner.Set{Name: name, Values: values} }

func TestASetThatGucWouldRefuseIsRefusedWithItsWords(t *testing.T) {
	c := newDatabase(t, "postgres", withSettings(t))
	const now = "55P02"
	c.fails(set("plugin.internal", "1"), now, `parameter "plugin.internal" cannot be changed`)
	c.fails(set("plugin.fixed", "1"), now, `parameter "plugin.fixed" cannot be changed without restarting the server`)
	c.fails(set("plugin.count", "1"), now, `parameter "plugin.count" cannot be changed now`)
	c.fails(set("plugin.count", "not even"), now, `parameter "plugin.count" cannot be changed now`)
	c.fails(scanner.Reset{Name: "plugin.count"}, now, `parameter "plugin.count" cannot be changed now`)
	c.fails(set("plugin.early", "1"), now, `parameter "plugin.early" cannot be set after connection start`)
	c.fails(set("plugin.super", "500"), "22023", `500 is outside the valid range for parameter "plugin.super" (1 .. 100)`)
	c.fails(set("plugin.count", "1", "2"), "22023", `SET plugin.count takes only one argument`)
	if e := c.fails(set("plugin.mode", "f'as$t$"), "22023", `invalid value for parameter "plugin.mode": "f'as$t$"`); e.Hint != "Available values: fast, slow." {
		t.Errorf("got %+v", e)
	}
	if e := c.fails(set("plugin.naptime", "1 x"), "22023", `invalid value for parameter "plugin.naptime": "1 x"`); e.Hint == "" {
		t.Errorf("got %+v", e)
	}
	if e := c.fails(set("plugin.nope", "1"), "42602", `invalid configuration parameter name "plugin.nope"`); e.Detail != `"plugin" is a reserved prefix.` {
		t.Errorf("got %+v", e)
	}
}

func TestASetOfTheSessionsShowsAsTheHostShowsIt(t *testing.T) {
	c := newDatabase(t, "owner", withSettings(t))
	shows := func(cmd scanner.Command, name, want string) {
		t.Helper()
		c.must(cmd, "SET")
		c.wants("SHOW "+name, want)
	}
	shows(set("plugin.naptime", "120"), "plugin.naptime", "2min")
	shows(set("plugin.enabled", "yes"), "plugin.enabled", "on")
	shows(set("plugin.mode", "SLOW"), "plugin.mode", "slow")
	for _, cmd := range []scanner.Command{set("plugin.text", "as it is"), set("plugin.mode", "fast"), scanner.Reset{Name: "plugin.mode"}} {
		if text, ok := translated(cmd, c.env); ok {
			t.Errorf("%+v becomes %s", cmd, text)
		}
	}
	c.sql("BEGIN")
	shows(scanner.Set{Name: "plugin.naptime", Values: []string{"60"}, Local: true}, "plugin.naptime", "1min")
	c.sql("ROLLBACK")
	c.wants("SHOW plugin.naptime", "2min")
}

func TestASuperusersSettingTakesARightToSet(t *testing.T) {
	c := newDatabase(t, "owner", withSettings(t))
	const refused = `permission denied to set parameter "plugin.super"`
	c.fails(set("plugin.super", "5"), "42501", refused)
	c.fails(set("plugin.super", "500"), "42501", refused)
	c.fails(scanner.Reset{Name: "plugin.super"}, "42501", refused)
	super := c.another("postgres")
	super.must(set("plugin.super", "5"), "SET")
	super.wants("SHOW plugin.super", "5")
	super.must(scanner.Reset{Name: "plugin.super"}, "RESET")
	super.wants("SHOW plugin.super", "")
	super.sql("BEGIN")
	super.must(scanner.Set{Name: "plugin.super", Values: []string{"7"}, Local: true}, "SET")
	super.wants("SHOW plugin.super", "7")
	super.sql("COMMIT")
	super.wants("SHOW plugin.super", "")
	if c.query("SELECT current_setting('server_version_num')::int >= 150000") == "t" {
		super.sql("GRANT SET ON PARAMETER plugin.super TO owner")
		t.Cleanup(func() { super.sql("REVOKE SET ON PARAMETER plugin.super FROM owner") })
		c.must(set("plugin.super", "6"), "SET")
		c.wants("SHOW plugin.super", "6")
	}
}

// alterable makes what stands in for the function that changes the host's files: a
// table.
const alterable = `DROP FUNCTION IF EXISTS pgexthost.alter_system(text, text);
	CREATE TABLE pgexthost.altered (name text, value text);
	CREATE FUNCTION pgexthost.alter_system(name text, value text) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO pgexthost.altered VALUES ($1, $2)';
	REVOKE ALL ON FUNCTION pgexthost.alter_system(text, text) FROM PUBLIC`

func TestAlterSystemOfAHostsSettingReachesTheHost(t *testing.T) {
	c := newDatabase(t, "postgres", withSettings(t))
	if e := c.fails(scanner.AlterSystem{Name: "plugin.count", Values: []string{"5"}}, "55000",
		`parameter "plugin.count" of the extension host cannot be changed in a database without schema pgexthost`); e.Hint == "" {
		t.Errorf("got %+v", e)
	}
	c.must(scanner.CreateExtension{Name: "pgexthost"}, "CREATE EXTENSION")
	c.sql(alterable)
	c.must(scanner.AlterSystem{Name: "plugin.count", Values: []string{"5"}}, "ALTER SYSTEM")
	c.must(scanner.AlterSystem{Name: "plugin.fixed", Reset: true}, "ALTER SYSTEM")
	c.must(scanner.AlterSystem{Name: "plugin.text", Values: []string{`$pgexthost$ '\ "`}}, "ALTER SYSTEM")
	c.must(scanner.AlterSystem{Name: "plugin.mode", ToDefault: true}, "ALTER SYSTEM")
	c.wants("SELECT string_agg(name || '=' || coalesce(value, 'NULL'), ', ') FROM pgexthost.altered",
		`plugin.count=5, plugin.fixed=NULL, plugin.text=$pgexthost$ '\ ", plugin.mode=NULL`)

	c.fails(scanner.AlterSystem{Name: "plugin.count", Values: []string{"500"}}, "22023", `500 is outside the valid range for parameter "plugin.count" (1 .. 100)`)
	c.fails(scanner.AlterSystem{Name: "plugin.internal", Values: []string{"5"}}, "55P02", `parameter "plugin.internal" cannot be changed`)
	c.fails(scanner.AlterSystem{Name: "plugin.internal", Reset: true}, "55P02", `parameter "plugin.internal" cannot be changed`)
	c.fails(scanner.AlterSystem{Name: "plugin.text", Values: []string{"a\nb"}}, "22023", "parameter value for ALTER SYSTEM must not contain a newline")
	c.fails(scanner.AlterSystem{Name: "plugin.count", Values: []string{"5", "6"}}, "22023", "SET plugin.count takes only one argument")
	poor := c.another("poor")
	for _, value := range []string{"5", "500"} {
		if e := poor.fails(scanner.AlterSystem{Name: "plugin.count", Values: []string{value}}, "42501", `permission denied to set parameter "plugin.count"`); e.Context != "" {
			t.Errorf("the block shows: %s", e.Context)
		}
	}
	if e := c.fails(scanner.AlterSystem{Name: "plugin.nope", Values: []string{"5"}}, "42602", `invalid configuration parameter name "plugin.nope"`); e.Detail != `"plugin" is a reserved prefix.` {
		t.Errorf("got %+v", e)
	}
	for _, cmd := range []scanner.Command{scanner.AlterSystem{Name: "plugin.nope", Reset: true}, scanner.AlterSystem{Name: "other.nope", Values: []string{"5"}}} {
		if text, ok := translated(cmd, c.env); ok {
			t.Errorf("%+v becomes %s", cmd, text)
		}
	}
	if text, ok := translated(scanner.AlterSystem{Name: "work_mem", Values: []string{"5"}}, c.env); ok {
		t.Errorf("the server's setting becomes %s", text)
	}
	c.env.InTransaction = true
	c.fails(scanner.AlterSystem{Name: "plugin.count", Values: []string{"5"}}, "25001", "ALTER SYSTEM cannot run inside a transaction block")
}

// A lesser role's function of that name would run with the rights of who asks.
func TestAlterSystemCallsNoFunctionOfALesserRole(t *testing.T) {
	c := newDatabase(t, "owner", withSettings(t))
	c.sql(`CREATE SCHEMA pgexthost; CREATE FUNCTION pgexthost.alter_system(name text, value text) RETURNS void LANGUAGE sql AS 'SELECT 1/0'`)
	c.another("postgres").fails(scanner.AlterSystem{Name: "plugin.count", Values: []string{"5"}}, "55000",
		`parameter "plugin.count" of the extension host cannot be changed in a database without schema pgexthost`)
}

func TestLoadOfAHostsLibraryNeedsTheRightsForIt(t *testing.T) {
	c := newDatabase(t, "owner", withSettings(t))
	c.fails(scanner.Load{File: "worker_spi"}, "42501", `access to library "worker_spi" is not allowed`)
	c.must(scanner.Load{File: "$libdir/plugins/worker_spi"}, "LOAD")
	c.another("postgres").must(scanner.Load{File: "worker_spi"}, "LOAD")
}
