package statement_test

import (
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/sql/scanner"
)

var worker = scanner.CreateExtension{Name: "worker_spi"}

const denied = `permission denied to create extension "worker_spi"`

func TestWhoMayNotMakeSchemasMayNotCreateExtensions(t *testing.T) {
	c := newDatabase(t, "owner", own())
	poor := c.another("poor")
	if e := poor.fails(worker, "42501", denied); e.Hint != "Must have CREATE privilege on current database to create this extension." {
		t.Errorf("got %+v", e)
	}
	c.must(worker, "CREATE EXTENSION")
	if e := poor.fails(worker, "42501", denied); e.Hint != "Must be owner of schema pgexthost to create this extension." {
		t.Errorf("got %+v", e)
	}
	poor.fails(drop("worker_spi"), "42501", "must be owner of extension worker_spi")
	poor.fails(scanner.AlterExtensionUpdate{Name: "worker_spi"}, "42501", "must be owner of extension worker_spi")
	c.wants("SELECT count(*) FROM pgexthost.extension", "2")
}

// The host's user has to be able to trust the schema: who makes it has its rights.
func TestWhoDoesNotHaveTheRightsOfTheHostsUserMayNotMakeTheSchema(t *testing.T) {
	env := own()
	env.HostRole = "postgres"
	c := newDatabase(t, "owner", env)
	e := c.fails(worker, "42501", denied)
	if want := `Must have the rights of role "postgres", which is the user of the extension host, to create this extension.`; e.Hint != want {
		t.Errorf("hint %q", e.Hint)
	}
	c.another("postgres").must(worker, "CREATE EXTENSION")
	for _, role := range []string{"owner", "nobody there"} {
		env.HostRole = role
		newDatabase(t, "owner", env).must(worker, "CREATE EXTENSION")
	}
}

// A superuser's rights are worth having: nothing of a lesser role is touched.
func TestNothingOfALesserRolesSchemaRunsWithGreaterRights(t *testing.T) {
	c := newDatabase(t, "owner", own())
	c.must(scanner.CreateExtension{Name: "pgexthost"}, "CREATE EXTENSION")
	c.sql(`CREATE FUNCTION public.trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'UE001', MESSAGE = current_user; END $$;
		CREATE TRIGGER trap BEFORE INSERT ON pgexthost.extension FOR EACH STATEMENT EXECUTE FUNCTION public.trap();
		CREATE FUNCTION public.policy() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'UE001', MESSAGE = current_user; END $$;
		ALTER TABLE pgexthost.extension ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
		CREATE POLICY p ON pgexthost.extension USING (public.policy())`)
	super := c.another("postgres")
	if e := super.fails(worker, "42501", denied); e.Hint != `Install it as role "owner".` || !strings.Contains(e.Detail, `rights of "postgres"`) {
		t.Errorf("got %+v", e)
	}
	super.fails(drop("worker_spi"), "42501", "must be owner of extension worker_spi")
	super.fails(scanner.AlterExtensionUpdate{Name: "worker_spi"}, "42501", "must be owner of extension worker_spi")
	// Only a relation is a lesser role's.
	super.sql("ALTER SCHEMA pgexthost OWNER TO postgres")
	super.fails(worker, "42501", denied)
	super.sql("ALTER SCHEMA pgexthost OWNER TO owner")
	if e := c.do(worker).Error; e.Code != "UE001" {
		t.Errorf("the owner runs into its own policy, not %+v", e)
	}
}

// What a client's search_path finds first is not what the block uses.
func TestABlockUsesNothingOfTheClientsSearchPath(t *testing.T) {
	c := newDatabase(t, "owner", own())
	c.sql(`CREATE SCHEMA evil;
		CREATE FUNCTION evil.trap() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'UE001', MESSAGE = 'trapped'; END $$;
		CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS 'SELECT evil.trap()';
		CREATE FUNCTION evil.set_config(text, text, bool) RETURNS text LANGUAGE sql AS 'SELECT evil.trap()';
		CREATE FUNCTION evil.format(text, text) RETURNS text LANGUAGE sql AS 'SELECT evil.trap()';
		CREATE FUNCTION evil.eq(text, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.trap(); END $$;
		CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
		CREATE FUNCTION evil.ge(int, int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.trap(); END $$;
		CREATE OPERATOR evil.>= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.ge);
		CREATE DOMAIN evil.text AS int; CREATE DOMAIN evil.jsonb AS int; CREATE DOMAIN evil.name AS int;
		SET search_path = evil, pg_catalog, public`)
	c.must(scanner.CreateExtension{Name: "worker_spi", Schema: "public"}, "CREATE EXTENSION")
	c.must(scanner.AlterExtensionUpdate{Name: "worker_spi"}, "ALTER EXTENSION")
	c.must(drop("worker_spi"), "DROP EXTENSION")
	c.sql("SET search_path = evil, pg_catalog; SET client_min_messages = error")
	c.env = withSettings(t)
	c.fails(scanner.AlterSystem{Name: "plugin.count", Values: []string{"3"}}, "42501", `permission denied to set parameter "plugin.count"`)
	c.fails(scanner.Set{Name: "plugin.super", Values: []string{"3"}}, "42501", `permission denied to set parameter "plugin.super"`)
	c.must(scanner.Load{File: "$libdir/plugins/worker_spi"}, "LOAD")
}

func TestIfNotExistsNeedsNothingButALook(t *testing.T) {
	c := newDatabase(t, "postgres", own())
	c.must(worker, "CREATE EXTENSION")
	c.sql("GRANT pgexthost_reader TO reader")
	again := scanner.CreateExtension{Name: "worker_spi", IfNotExists: true}
	for _, session := range []*client{c, c.another("reader")} {
		o := session.must(again, "CREATE EXTENSION")
		if len(o.Notices) != 1 || o.Notices[0] != (message{Code: "42710", Message: `extension "worker_spi" already exists, skipping`}) {
			t.Errorf("got %+v", o.Notices)
		}
		session.fails(worker, "42710", `extension "worker_spi" already exists`)
	}
	c.another("reader").fails(drop("worker_spi"), "42501", "must be owner of extension worker_spi")
	c.another("poor").fails(again, "42501", denied)
}

func TestAReadOnlyTransactionIsRefused(t *testing.T) {
	c := newDatabase(t, "owner", own())
	for cmd, tag := range map[scanner.Command]string{worker: "CREATE EXTENSION", scanner.AlterExtensionUpdate{Name: "worker_spi"}: "ALTER EXTENSION"} {
		c.sql("BEGIN READ ONLY")
		c.fails(cmd, "25006", "cannot execute "+tag+" in a read-only transaction")
		c.sql("ROLLBACK")
	}
}

func TestAForeignSchemaOfTheNameIsNotTaken(t *testing.T) {
	c := newDatabase(t, "owner", own())
	c.sql("CREATE SCHEMA pgexthost")
	c.fails(worker, "42P06", `schema "pgexthost" already exists`)
	c.fails(scanner.CreateExtension{Name: "pgexthost"}, "42P06", `schema "pgexthost" already exists`)
	c.fails(drop("pgexthost"), "42704", `extension "pgexthost" does not exist`)
}
