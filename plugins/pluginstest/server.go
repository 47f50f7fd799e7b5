package pluginstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// Postgres is a database of a PostgreSQL server. Its methods are safe for
// concurrent use.
type Postgres struct{ conninfo string }

// private is the server of this test binary.
var private struct {
	sync.Mutex
	server *localpg.Server
	err    error // why there is none
}

// template is what initdb has made, once for all servers of this test binary.
var template struct {
	sync.Mutex
	*localpg.Template
}

// populate fills the data directory of a server.
func populate(ctx context.Context, dataDir string) (err error) {
	template.Lock()
	defer template.Unlock()
	if template.Template == nil {
		if template.Template, err = localpg.NewTemplate(ctx, localpg.Options{}); err != nil {
			return err
		}
	}
	return template.Populate(ctx, dataDir)
}

// removeServers deletes what Server and NewCluster have made.
func removeServers() error {
	private.Lock()
	defer private.Unlock()
	template.Lock()
	defer template.Unlock()
	var err error
	if private.server != nil {
		err = private.server.Stop(context.Background())
	}
	if template.Template != nil {
		err = errors.Join(err, template.Close())
	}
	return err
}

// Server returns the server that is private to this test binary, with its database
// "postgres" and a superuser. The first call starts it, which takes a second or
// two; all others return the same one. It listens on a unix socket only, and ends
// with the test binary at the latest, however that ends.
//
// It is made from the PostgreSQL, 14 or later, that is found where
// PGEXTHOST_PG_BINDIR says, where pg_config points, on PATH, or where packages put
// it. Without one the test fails with an error that says where the search went,
// since a promise that was not tested is not kept. It is skipped with -short.
func Server(t testing.TB) *Postgres {
	t.Helper()
	private.Lock()
	defer private.Unlock()
	if private.server == nil && private.err == nil {
		private.server, private.err = localpg.Start(context.Background(), localpg.Options{Populate: populate})
	}
	demand(t, private.err)
	return &Postgres{private.server.ConnInfo()}
}

// demand fails or skips a test that has no server to run with.
func demand(t testing.TB, err error) {
	t.Helper()
	var missing *localpg.NotFoundError
	switch {
	case errors.As(err, &missing) && testing.Short():
		t.Skipf("no PostgreSQL to test with: %v", err)
	case err != nil:
		t.Fatalf("no PostgreSQL to test with: %v", err)
	}
}

// At returns the database that a connection string stands for, of a server that
// somebody else has started.
func At(conninfo string) *Postgres { return &Postgres{conninfo} }

// Conninfo returns the connection string: what server_conninfo is for the workers.
func (p *Postgres) Conninfo() string { return p.conninfo }

// Connect opens a session that is closed at the end of the test.
func (p *Postgres) Connect(t testing.TB) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithDeadline(t.Context(), deadline(t))
	defer cancel()
	conn, err := pgx.Connect(ctx, p.conninfo)
	if err != nil {
		t.Fatalf("could not connect to the test's database: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// databases numbers those of this test binary.
var databases atomic.Int64

// NewDatabase makes an empty database, and drops it at the end of the test with
// all sessions that are left in it. Workers whose Options.Server it is connect to
// it unless they name another.
func (p *Postgres) NewDatabase(t testing.TB) *Postgres {
	t.Helper()
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), databases.Add(1))
	p.exec(t, "CREATE DATABASE "+name)
	t.Cleanup(func() { p.exec(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	return &Postgres{withDatabase(p.conninfo, name)}
}

// exec runs one statement in a session of its own: at the end of a test those of
// Connect are closed.
func (p *Postgres) exec(t testing.TB, statement string) {
	t.Helper()
	ctx, cancel := context.WithDeadline(context.Background(), deadline(t))
	defer cancel()
	conn, err := pgx.Connect(ctx, p.conninfo)
	if err == nil {
		_, err = conn.Exec(ctx, statement)
		_ = conn.Close(ctx)
	}
	if err != nil {
		t.Errorf("%s: %v", statement, err)
		if t.Context().Err() == nil { // not in a cleanup
			t.FailNow()
		}
	}
}

// withDatabase returns a connection string for another database of the server.
func withDatabase(conninfo, name string) string {
	if !strings.HasPrefix(conninfo, "postgres://") && !strings.HasPrefix(conninfo, "postgresql://") {
		return conninfo + " dbname=" + name // the last one counts
	}
	separator := "?"
	if strings.Contains(conninfo, "?") {
		separator = "&"
	}
	return conninfo + separator + "dbname=" + name
}
