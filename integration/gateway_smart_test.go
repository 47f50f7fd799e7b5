//go:build linux

package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// isGone reports whether the host's process has ended.
func (h *testHost) isGone() bool {
	select {
	case <-h.exited:
		return true
	default:
		return false
	}
}

// smartly is a host with a gateway, a session through it, and a smart shutdown that
// waits for that.
func smartly(t *testing.T, name string) (*testHost, *pgx.Conn) {
	t.Helper()
	h := startHostWithGateway(t, sharedServer(t).ConnInfo())
	conn := h.through(name)
	h.signal(unix.SIGTERM)
	h.waitLog(`LOG:  received smart shutdown request$`)
	return h, conn
}

// SPEC §9: workers keep running, and may still be launched, until the last SQL
// session leaves.
func TestASmartShutdownWaitsForTheSessionsOfTheGateway(t *testing.T) {
	t.Parallel()
	conninfo := sharedServer(t).ConnInfo()
	execSQL(t, conninfo, "DROP DATABASE IF EXISTS gw_smart WITH (FORCE)")
	execSQL(t, conninfo, "CREATE DATABASE gw_smart")
	h := startHostWithGateway(t, conninfo, withSetting("worker_spi.database=gw_smart"))
	h.waitLog(`LOG:  server is accepting read-write connections$`)
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=5433 user=postgres dbname=gw_smart", h.dir))
	if err != nil {
		t.Fatal(err)
	}
	launch := func(n int) (pid int) {
		t.Helper()
		if err := conn.QueryRow(ctx, "SELECT worker_spi_launch($1)", n).Scan(&pid); err != nil {
			t.Fatal(err)
		}
		h.waitLog(fmt.Sprintf(`LOG:  worker_spi dynamic worker %d initialized with schema%[1]d\.counted$`, n))
		return pid
	}
	if _, err := conn.Exec(ctx, "CREATE EXTENSION worker_spi"); err != nil {
		t.Fatal(err)
	}
	before := launch(1)

	h.signal(unix.SIGTERM)
	h.waitLog(`LOG:  received smart shutdown request$`)
	if _, err := h.tryThrough("gw_late"); stateOf(err) != "57P03" || !strings.Contains(err.Error(), "the database system is shutting down") {
		t.Errorf("a new client: %v", err)
	}
	during := launch(2)
	canceled := make(chan error, 1)
	go func() {
		_, err := conn.Exec(ctx, "SELECT pg_sleep(1000)")
		canceled <- err
	}()
	h.eventually("the statement to run", func() bool {
		return query[int](t, conninfo, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'gw_smart' AND query LIKE '%pg_sleep(1000)%' AND state = 'active'") > 0
	})
	if err := conn.PgConn().CancelRequest(ctx); err != nil {
		t.Error(err)
	}
	if err := h.await(canceled); stateOf(err) != "57014" {
		t.Errorf("the statement that was canceled: %v", err)
	}
	h.waitLog(`LOG:  still waiting for 1 session of the gateway to end$`)
	for _, pid := range []int{before, during} {
		if !slices.Contains(h.children(), pid) {
			t.Errorf("worker %d has ended", pid)
		}
	}
	if h.isGone() || h.count(`LOG:  shutting down$`) > 0 {
		t.Error("it has not waited")
	}

	if err := conn.Close(ctx); err != nil {
		t.Error(err)
	}
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for pattern, want := range map[string]int{
		`received smart shutdown request$`: 1,
		`LOG:  shutting down$`:             1,
		`FATAL:  terminating background worker "worker_spi dynamic" due to administrator command$`: 2,
	} {
		if n := h.count(pattern); n != want {
			t.Errorf("%d times, not %d: %s", n, want, pattern)
		}
	}
	execSQL(t, conninfo, "DROP DATABASE gw_smart WITH (FORCE)")
}

func TestASmartShutdownWithoutSessionsWaitsForNone(t *testing.T) {
	t.Parallel()
	h := startHostWithGateway(t, sharedServer(t).ConnInfo())
	conn := h.through("gw_left")
	if _, err := oneRow(conn); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	h.signal(unix.SIGTERM)
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestAFastShutdownEndsTheWaitForSessions(t *testing.T) {
	t.Parallel()
	h, conn := smartly(t, "gw_impatient")
	if _, err := oneRow(conn); err != nil {
		t.Errorf("the session: %v", err)
	}
	h.signal(unix.SIGINT)
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := lastWords(t, conn); !strings.Contains(got, "57P01") {
		t.Errorf("the client heard %q", got)
	}
}

func TestAnImmediateShutdownEndsTheWaitForSessions(t *testing.T) {
	t.Parallel()
	h, _ := smartly(t, "gw_immediately")
	h.signal(unix.SIGQUIT)
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Its sessions are gone with it, and nobody is waited for, nor let in again.
func TestAKilledGatewayEndsTheWaitForItsSessions(t *testing.T) {
	t.Parallel()
	h, conn := smartly(t, "gw_killed_smartly")
	if _, err := oneRow(conn); err != nil {
		t.Errorf("the session: %v", err)
	}
	h.kill(h.gatewayPid())
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	h.waitLog(`LOG:  gateway process \(PID \d+\) was terminated by signal 9: Killed$`)
	if n := h.count(`gateway listening on Unix socket`); n != 1 {
		t.Errorf("%d gateways", n)
	}
}
