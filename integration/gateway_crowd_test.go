//go:build linux

package integration

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Three thousand short connections, orderly ones and others, leave nothing behind:
// no descriptor, no session of the server's, no place taken (of which there are a hundred), and
// hardly any memory.
func TestThousandsOfShortConnectionsLeaveNothingBehind(t *testing.T) {
	skipIfShort(t)
	const atOnce, places = 12, 100
	server := privateServer(t)
	g := startGateway(t, server, withSetting(fmt.Sprintf("max_connections=%d", places)))
	crowd := func(connections int) {
		var next atomic.Int64
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() {
				for i := next.Add(1); i <= int64(connections) && !t.Failed(); i = next.Add(1) {
					if err := visit(t, g, int(i)); err != nil {
						t.Errorf("connection %d: %v", i, err)
					}
				}
			})
		}
		all.Wait()
		g.eventually("the server's sessions to end", func() bool {
			return query[int](t, server.ConnInfo(), "SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'visitor'") == 0
		})
	}
	pid := g.gatewayPid()
	crowd(500)
	before := descriptors(t, pid)
	memory := residentMemory(t, pid)
	crowd(2500)
	g.eventually("the descriptors to be closed", func() bool { return descriptors(t, pid) <= before })
	if grown := residentMemory(t, pid) - memory; grown > 16<<20 {
		t.Errorf("the gateway has grown by %d bytes", grown)
	}
	conns := make([]*pgx.Conn, places)
	for i := range conns { // all places are free
		conns[i] = connectThrough(t, g, "postgres")
	}
}

// visit is one short connection.
func visit(t *testing.T, g *gatewayHost, i int) error {
	ctx, stop := context.WithTimeout(t.Context(), limit)
	defer stop()
	if i%50 == 0 {
		cmd := g.place().client(t, "psql", "postgres", "-XAtc", fmt.Sprintf("SET application_name = 'visitor'; SELECT %d", i))
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != fmt.Sprintf("SET\n%d\n", i) {
			return fmt.Errorf("psql: %w: %q", err, out)
		}
		return nil
	}
	conn, err := pgx.Connect(ctx, g.conninfo("postgres")+" application_name=visitor")
	if err != nil {
		return err
	}
	var got int
	if err := conn.QueryRow(ctx, "SELECT $1::int", i).Scan(&got); err != nil || got != i {
		return fmt.Errorf("got %d, %w", got, err)
	}
	switch i % 5 {
	case 0: // it hangs up without a word
		return conn.PgConn().Conn().Close()
	case 1: // it hangs up amid an answer
		_ = conn.PgConn().Exec(ctx, "SELECT repeat('x', 100000) FROM generate_series(1, 100)")
		return conn.PgConn().Conn().Close()
	}
	return conn.Close(ctx)
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// residentMemory is what a process has in memory, in bytes.
func residentMemory(t *testing.T, pid int) (bytes int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nVmRSS:")
	if _, err := fmt.Sscan(rest, &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes << 10
}
