package pluginstest

import (
	"context"
	"testing"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// Cluster is a PostgreSQL server that one test may stop, crash and start again. Its
// methods are safe for concurrent use.
type Cluster struct {
	*Postgres // database "postgres"
	server    *localpg.Server
}

// NewCluster starts a server that is the test's own, from the PostgreSQL that Server
// finds, with settings that are "name=value" each. It takes less than a second but for
// the first. At the end of the test it is gone.
func NewCluster(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	server, err := localpg.Start(context.Background(), localpg.Options{Populate: populate, Settings: settings})
	demand(t, err)
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Errorf("could not remove the test's PostgreSQL server: %v", err)
		}
	})
	return &Cluster{&Postgres{server.ConnInfo()}, server}
}

// Crash kills all processes of the server, as a loss of power does, and returns when
// they are gone.
func (c *Cluster) Crash(t testing.TB) {
	t.Helper()
	if err := c.server.Crash(); err != nil {
		t.Fatalf("could not crash the test's PostgreSQL server: %v", err)
	}
}

// Stop shuts the server down: fast, so that open transactions are rolled back.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithDeadline(context.Background(), deadline(t))
	defer cancel()
	if err := c.server.StopServer(ctx); err != nil {
		t.Fatalf("could not stop the test's PostgreSQL server: %v", err)
	}
}

// Restart starts the server again, at the same place, and returns when it takes
// connections. If it runs, it is stopped before.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithDeadline(context.Background(), deadline(t))
	defer cancel()
	if err := c.server.Restart(ctx); err != nil {
		t.Fatalf("could not start the test's PostgreSQL server again: %v", err)
	}
}
