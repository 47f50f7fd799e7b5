package testkit_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/internal/testkit"
)

const odd = `it's "odd" \`

var (
	quoted = pgx.Identifier{odd}.Sanitize()
	server = testkit.Server{Setup: "CREATE ROLE " + quoted + " LOGIN"}
)

func TestMain(m *testing.M) {
	defer server.Stop()
	m.Run()
}

// failing is a test that says why it ends, and is over then.
type failing struct{ *testing.T }

func (failing) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// failure is what a test ends with.
func failure(t *testing.T, test func(t testkit.TB)) (why any) {
	defer func() { why = recover() }()
	test(failing{t})
	return nil
}

func TestADatabaseOfARoleIsGoneWithItsTest(t *testing.T) {
	var name string
	t.Run("the test", func(t *testing.T) {
		name = server.NewDatabase(t, odd)
		conn, err := pgx.Connect(testkit.Context(t), server.Conninfo(t, name, odd))
		testkit.Check(t, err)
		var database, user, owner string
		testkit.Check(t, conn.QueryRow(testkit.Context(t), "SELECT datname, current_user, datdba::regrole::text FROM pg_database WHERE datname = current_database()").Scan(&database, &user, &owner))
		if database != name || user != odd || owner != quoted {
			t.Errorf("in %s of %s as %s", database, owner, user)
		}
	}) // which leaves a session behind
	conn, err := pgx.Connect(testkit.Context(t), server.Conninfo(t, name, odd))
	if e := testkit.ServerError(err); e == nil || e.Code != "3D000" {
		t.Errorf("got %v, %v", conn, err)
	}
}

func TestTheFirstWhoAsksStartsTheServerAndNobodyAfterTheEnd(t *testing.T) {
	if first := server.Running(t); first != server.Running(t) {
		t.Error("there are two")
	}
	var unused testkit.Server
	unused.Stop()
	if why := failure(t, func(t testkit.TB) { unused.Running(t) }); why != "the tests are over" {
		t.Errorf("got %v", why)
	}
}

func TestASetupThatFailsFailsTheTestAndLeavesNoServer(t *testing.T) {
	dir := testkit.ShortTempDir(t)
	why := failure(t, func(t testkit.TB) { testkit.Start(t, localpg.Options{TempDir: dir}, "SELECT 1/0") })
	if why == nil || !strings.Contains(fmt.Sprint(why), "SELECT 1/0: ERROR: division by zero") {
		t.Errorf("got %v", why)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAProgramsOutputIsReturned(t *testing.T) {
	out, errs := server.Program(t, `SELECT 'said'; \warn warned`, "psql", "-XAtq", "-d", server.Conninfo(t, "postgres", "postgres"))
	if out != "said\n" || errs != "warned\n" {
		t.Errorf("got %q, %q", out, errs)
	}
}
