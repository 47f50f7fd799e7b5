package statement_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/testkit"
	"github.com/pgexthost/pgexthost/sql/scanner"
)

// conninfo says how to get to the client's database.
func (c *client) conninfo() string {
	c.t.Helper()
	return server.Conninfo(c.t, c.query("SELECT current_database()"), "owner")
}

// psql finds the end of each statement by itself: no quote of ours may mislead it.
func TestPsqlTakesABlockForOneStatement(t *testing.T) {
	c := newDatabase(t, "owner", own())
	var script strings.Builder
	for _, cmd := range []scanner.Command{worker, scanner.AlterExtensionUpdate{Name: "worker_spi"}, drop("worker_spi")} {
		text, ok := translated(cmd, c.env)
		if !ok {
			t.Fatalf("%+v: not translated", cmd)
		}
		script.WriteString(text + ";\n")
	}
	out, errs := server.Program(t, script.String(), "psql", "-X", "-v", "ON_ERROR_STOP=1", "-d", c.conninfo())
	if out != "DO\nDO\nDO\n" {
		t.Errorf("psql prints %q", out)
	}
	for _, want := range []string{`NOTICE:  installing required extension "pgexthost"`, "INFO:  CREATE EXTENSION", "INFO:  ALTER EXTENSION", "INFO:  DROP EXTENSION", "DETAIL:  " + nonce} {
		if !strings.Contains(errs, want) {
			t.Errorf("psql does not say %q but\n%s", want, errs)
		}
	}
}

// A driver may prepare what it is given, and run it more than once.
func TestADriverPreparesABlockAndRunsItAgain(t *testing.T) {
	c := newDatabase(t, "owner", own())
	conn, err := pgx.Connect(within(t), c.conninfo())
	check(t, err)
	defer conn.Close(within(t))
	create, _ := translated(worker, c.env)
	remove, _ := translated(drop("worker_spi"), c.env)
	for range 3 {
		for _, text := range []string{create, remove} {
			_, err := conn.Exec(within(t), text) // the default mode: prepared, and kept
			check(t, err)
		}
	}
	_, err = conn.Exec(within(t), remove)
	if e := testkit.ServerError(err); e == nil || e.Code != "42704" {
		t.Errorf("got %v", err)
	}
}

func TestADumpRestoresWhatACommandHasInstalled(t *testing.T) {
	c := newDatabase(t, "owner", own())
	c.sql("CREATE SCHEMA app")
	c.must(scanner.CreateExtension{Name: "worker_spi", Schema: "app"}, "CREATE EXTENSION")
	restored := newDatabase(t, "owner", own())
	dump, _ := server.Program(t, "", "pg_dump", c.conninfo())
	server.Program(t, dump, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", restored.conninfo())
	restored.fails(scanner.CreateExtension{Name: "worker_spi"}, "42710", `extension "worker_spi" already exists`)
	restored.wants("SELECT pg_typeof(app.worker_spi_extra(1::oid, 2::oid, '{}'))", "bytea")
	restored.must(drop("worker_spi", "pgexthost"), "DROP EXTENSION")
	restored.wants("SELECT count(*) FROM pg_proc WHERE proname LIKE 'worker_spi%'", "0")
}
