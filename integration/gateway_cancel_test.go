//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"
)

// running says how many sessions run a statement that begins so.
func (g *gatewayHost) running(t *testing.T, statement string) int {
	t.Helper()
	return query[int](t, g.server.ConnInfo(),
		"SELECT count(*)::int FROM pg_stat_activity WHERE state = 'active' AND starts_with(query, "+"'"+strings.ReplaceAll(statement, "'", "''")+"')")
}

// psql has a terminal here, and gets the key that a person would press.
func TestCtrlCInPsqlEndsTheStatementAndNotTheSession(t *testing.T) {
	g := startGateway(t, privateServer(t))
	master, slave := openTerminal(t)
	cmd := g.place().client(t, "psql", "postgres", "-XAtn")
	cmd.Env = append(cmd.Env, "TERM=dumb", "PAGER=cat")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	printed := make(chan string)
	go func() {
		text, _ := io.ReadAll(master) // an error is how the end of a terminal looks
		printed <- string(text)
	}()
	const statement = "SELECT 'ctrl-c', pg_sleep(600)"
	for range 3 {
		_, _ = io.WriteString(master, statement+";\n")
		g.eventually("the statement", func() bool { return g.running(t, statement) == 1 })
		_, _ = master.Write([]byte{3})
		g.eventually("its end", func() bool { return g.running(t, statement) == 0 })
	}
	_, _ = io.WriteString(master, "SELECT 'still ' || 'here';\n\\q\n")
	err := cmd.Wait()
	text := <-printed
	if err != nil || strings.Count(text, "ERROR:  canceling statement due to user request") != 3 || !strings.Contains(text, "still here") {
		t.Errorf("%v; psql printed:\n%s", err, text)
	}
}

// openTerminal makes a terminal: what is written to master is typed there.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

func TestACancelRequestEndsTheStatementItIsMeantForAndNoOther(t *testing.T) {
	g := startGateway(t, privateServer(t))
	ctx, stop := context.WithTimeout(t.Context(), limit)
	defer stop()
	const sessions = 8
	conns := make([]*pgx.Conn, sessions)
	ended := make([]chan error, sessions)
	for i := range conns {
		conns[i] = connectThrough(t, g, "postgres")
		ended[i] = make(chan error, 1)
		go func() {
			_, err := conns[i].Exec(ctx, "SELECT 'to be canceled', pg_sleep(600)")
			ended[i] <- err
		}()
	}
	left := sessions
	g.eventually("all to run", func() bool { return g.running(t, "SELECT 'to be canceled'") == left })
	for i, conn := range conns {
		if err := conn.PgConn().CancelRequest(ctx); err != nil {
			t.Fatal(err)
		}
		err := <-ended[i]
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "57014" {
			t.Errorf("the statement ended with %v", err)
		}
		left--
		if n := g.running(t, "SELECT 'to be canceled'"); n != left {
			t.Fatalf("%d statements run, not %d", n, left)
		}
		var one int
		if err := conn.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
			t.Errorf("the session after it: %v", err)
		}
	}
}

func TestACancelRequestWithAnotherSecretIsForNobody(t *testing.T) {
	g := startGateway(t, privateServer(t))
	ctx, stop := context.WithTimeout(t.Context(), limit)
	defer stop()
	victim, attacker := connectThrough(t, g, "postgres"), connectThrough(t, g, "postgres")
	ended := make(chan error, 1)
	go func() {
		_, err := victim.Exec(ctx, "SELECT 'not to be canceled', pg_sleep(600)")
		ended <- err
	}()
	g.eventually("it to run", func() bool { return g.running(t, "SELECT 'not to be canceled'") == 1 })
	hijacked, err := attacker.PgConn().Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer hijacked.Conn.Close()
	hijacked.PID = victim.PgConn().PID()
	forger, err := pgconn.Construct(hijacked)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := forger.CancelRequest(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := g.running(t, "SELECT 'not to be canceled'"); n != 1 {
		t.Errorf("%d statements run", n)
	}
	if err := victim.PgConn().CancelRequest(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(limit):
		t.Error("the session's own key does not work")
	}
}

// connectThrough is a session of pgx through the gateway.
func connectThrough(t *testing.T, g *gatewayHost, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), g.conninfo(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), limit)
		defer stop()
		_ = conn.Close(ctx)
	})
	return conn
}
