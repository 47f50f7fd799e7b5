//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"
)

// startHostWithGateway starts a host with a gateway before the server, and waits until it
// listens.
func startHostWithGateway(t *testing.T, conninfo string, options ...hostOption) *testHost {
	t.Helper()
	h := startHost(t, append([]hostOption{withServer(conninfo), withEnvironment(withGateway + "=1")}, options...)...)
	h.waitLog(`LOG:  gateway listening on Unix socket`)
	return h
}

// through is a session of the host's own user through the gateway. Its statements
// have a name of the test's, by which the server's sessions are counted.
func (h *testHost) through(name string) *pgx.Conn {
	h.t.Helper()
	conn, err := h.tryThrough(name)
	if err != nil {
		h.t.Fatal(err)
	}
	return conn
}

func (h *testHost) tryThrough(name string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=5433 user=postgres dbname=postgres application_name=%s", h.dir, name))
	if err == nil {
		h.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
	return conn, err
}

func (h *testHost) gatewayPid() (pid int) {
	h.t.Helper()
	h.eventually("the gateway", func() bool {
		for _, child := range h.children() {
			if strings.HasSuffix(processTitle(child), ": gateway") {
				pid = child
				return true
			}
		}
		return false
	})
	return pid
}

func stateOf(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// sleeping is a session through the gateway whose statement runs.
func (h *testHost) sleeping(t *testing.T, conninfo, name string) (failed chan error) {
	t.Helper()
	conn := h.through(name)
	failed = make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT pg_sleep(1000)")
		failed <- err
	}()
	h.eventually("the statement to run", func() bool {
		return query[int](t, conninfo, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND application_name = '"+name+"'") > 0
	})
	return failed
}

func (h *testHost) sessionsEnd(t *testing.T, conninfo, name string) {
	t.Helper()
	h.eventually("the server's sessions to end", func() bool {
		return query[int](t, conninfo, "SELECT count(*) FROM pg_stat_activity WHERE application_name = '"+name+"'") == 0
	})
}

func (h *testHost) await(failed chan error) error {
	h.t.Helper()
	select {
	case err := <-failed:
		return err
	case <-time.After(limit):
		h.t.Fatal("the client is not told")
		return nil
	}
}

// lastWords is what a client that only listens hears up to the end.
func lastWords(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	raw := conn.PgConn().Conn()
	if err := raw.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(raw)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection stays open")
	}
	return string(text)
}

func oneRow(conn *pgx.Conn) (n int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err = conn.QueryRow(ctx, "SELECT 1").Scan(&n)
	return n, err
}

// worksAgain expects a gateway that was started again to serve.
func (h *testHost) worksAgain(name string) {
	h.t.Helper()
	h.eventually("the gateway to serve again", func() bool {
		conn, err := h.tryThrough(name)
		if err != nil {
			return false
		}
		n, err := oneRow(conn)
		return err == nil && n == 1
	})
}

func TestAGatewayThatIsTerminatedTellsItsClients(t *testing.T) {
	t.Parallel()
	conninfo, name := sharedServer(t).ConnInfo(), "gw_term"
	h := startHostWithGateway(t, conninfo)
	idle, failed := h.through(name), h.sleeping(t, conninfo, name)
	if err := unix.Kill(h.gatewayPid(), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := h.await(failed); stateOf(err) != "57P01" {
		t.Errorf("running: got %v", err)
	}
	if got := lastWords(t, idle); !strings.Contains(got, "\x00C57P01\x00") {
		t.Errorf("idle: got %q", got)
	}
	h.sessionsEnd(t, conninfo, name)
	h.worksAgain(name)
	h.stop()
}

func TestAGatewayThatIsKilledComesBack(t *testing.T) {
	t.Parallel()
	conninfo, name := sharedServer(t).ConnInfo(), "gw_kill"
	h := startHostWithGateway(t, conninfo)
	for range 3 {
		idle := h.through(name)
		if err := unix.Kill(h.gatewayPid(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if got := lastWords(t, idle); got != "" {
			t.Errorf("got %q", got)
		}
		h.worksAgain(name)
	}
	h.stop()
	h.sessionsEnd(t, conninfo, name)
	if _, err := os.Stat(h.dir + "/.s.PGSQL.5433"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestAShutdownOfTheHostTellsTheGatewaysClients(t *testing.T) {
	conninfo := sharedServer(t).ConnInfo()
	for mode, tt := range map[string]struct {
		signal unix.Signal
		told   string
		code   int
	}{
		"fast": {unix.SIGINT, "57P01", 0}, "immediate": {unix.SIGQUIT, "", -1}, "kill": {unix.SIGKILL, "", -1},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			name := "gw_" + mode
			h := startHostWithGateway(t, conninfo)
			idle := h.through(name)
			h.signal(tt.signal)
			code := h.awaitExit()
			if tt.code >= 0 && code != tt.code {
				t.Errorf("exit code %d", code)
			}
			if got := lastWords(t, idle); tt.told != "" && !strings.Contains(got, tt.told) {
				t.Errorf("got %q", got)
			}
			h.sessionsEnd(t, conninfo, name)
		})
	}
}

// A socket that a killed host has left is no obstacle to the next one.
func TestAHostAfterAKilledOneServesAgain(t *testing.T) {
	t.Parallel()
	conninfo := sharedServer(t).ConnInfo()
	first := startHostWithGateway(t, conninfo)
	gateway := first.gatewayPid()
	first.freeze(gateway) // or it would take the socket away when its host has died
	first.signal(unix.SIGKILL)
	<-first.exited
	if err := unix.Kill(gateway, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	first.awaitExit()
	if _, err := os.Stat(first.dir + "/.s.PGSQL.5433"); err != nil {
		t.Fatalf("the test wants a socket that is left: %v", err)
	}
	second := startHostWithGateway(t, conninfo, inDir(first.dir))
	second.worksAgain("gw_second")
	second.stop()
}

// Clients that come, talk nonsense and go leave no descriptor and no memory.
func TestTheGatewaysDescriptorsAreThoseOfItsClients(t *testing.T) {
	t.Parallel()
	conninfo, name := sharedServer(t).ConnInfo(), "gw_fds"
	h := startHostWithGateway(t, conninfo)
	if _, err := oneRow(h.through(name)); err != nil {
		t.Fatal(err)
	}
	descriptors := func() int {
		all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", h.gatewayPid()))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := descriptors()
	pid := h.gatewayPid()
	for i := range 300 {
		conn, err := net.Dial("unix", h.dir+"/.s.PGSQL.5433")
		if err != nil {
			t.Fatal(err)
		}
		start := "\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
		said := []byte(start + "Q\x00\x00\x00\x0dSELECT 1\x00Q\xff\xff\xff\xff")
		_, _ = conn.Write(said[:1+i%len(said)])
		_ = conn.Close()
	}
	h.eventually("the descriptors to be as before", func() bool { return descriptors() <= before })
	if h.gatewayPid() != pid {
		t.Error("the gateway is another")
	}
	h.stop()
}
