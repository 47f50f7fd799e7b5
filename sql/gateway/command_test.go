package gateway

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// The owner of a database may make a schema there, but the host would not touch it,
// and pg_stat_activity would be an error for everybody in that database.
func TestWhoHasNotTheRightsOfTheHostsUserInstallsNothing(t *testing.T) {
	d := direct(t)
	for _, sql := range []string{"DROP DATABASE IF EXISTS plains", "CREATE DATABASE plains OWNER plain"} {
		_, err := d.Exec(testContext(t), sql)
		check(t, err)
	}
	t.Cleanup(func() { _, _ = d.Exec(context.Background(), "DROP DATABASE plains WITH (FORCE)") })
	b := shared(t)
	in := func(user string) string {
		return strings.Replace(b.unix(user), "dbname=postgres", "dbname=plains", 1)
	}

	plain := open(t, in("plain"))
	_, err := plain.Exec(testContext(t), "CREATE EXTENSION worker_spi")
	told, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || told.Code != "42501" || !strings.Contains(told.Hint, `Must have the rights of role "`+one(t, d, "SELECT current_user")+`", which is the user of the extension host`) {
		t.Errorf("got %v", err)
	}
	if got := one(t, plain, "SELECT count(*)::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"); got != "1" {
		t.Errorf("pg_stat_activity has %s of its own session", got)
	}
	super := open(t, in("scrammer"))
	_, err = super.Exec(testContext(t), "CREATE EXTENSION worker_spi")
	check(t, err)
}
