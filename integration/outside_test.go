//go:build linux

package integration

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/sql"
	"github.com/pgexthost/pgexthost/workerspi"
)

// Two environment variables turn these tests to a server and a host that run
// already, such as those of docker-compose.yml.
const (
	// outsideServer is a connection string, in libpq's keyword/value form, of a
	// superuser. Tests make databases and roles there. Those that harm their
	// server, or need one that is set up for them, skip themselves.
	outsideServer = "PGEXTHOST_TEST_SERVER"
	// outsideHost is the data directory of a host that serves the database of
	// outsideServer: it runs the library worker_spi with a naptime of a few seconds
	// at most, and launcher_databases names the database, where schema pgexthost is
	// installed. Only the tests of this file use it; the others always run hosts
	// of their own.
	outsideHost = "PGEXTHOST_TEST_HOST"
)

// outside is the server that outsideServer tells.
type outside string

func (s outside) ConnInfo() string { return string(s) }

// needsOwnServer skips a test that can't do with any server.
func needsOwnServer(t testing.TB) {
	t.Helper()
	if os.Getenv(outsideServer) != "" {
		t.Skipf("it needs a server of its own, and %s names another", outsideServer)
	}
}

// shareLogin gives a role the password that the server's superuser logs in with,
// if there is one.
func shareLogin(t *testing.T, server testServer, role string) {
	t.Helper()
	config, err := pgx.ParseConfig(server.ConnInfo())
	if err != nil {
		t.Fatal(err)
	}
	if config.Password != "" {
		execSQL(t, server.ConnInfo(), fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", role, strings.ReplaceAll(config.Password, "'", "''")))
	}
}

// runningHost is a host that tests only use, and neither start nor stop: the one
// of outsideHost, or else one that is set up as that has to be.
type runningHost struct {
	t        *testing.T
	dir      string
	conninfo string
}

func newRunningHost(t *testing.T) runningHost {
	t.Helper()
	dir := os.Getenv(outsideHost)
	if server := os.Getenv(outsideServer); (dir == "") != (server == "") {
		t.Skipf("%s and %s belong together", outsideHost, outsideServer)
	} else if dir != "" {
		return runningHost{t, dir, server}
	}
	const database = "outside"
	conninfo := newDatabase(t, database)
	installExtension(t, conninfo, sql.SchemaExtension)
	h := startHost(t, withServer(conninfo), withSetting("shared_preload_libraries=worker_spi"), withSetting("worker_spi.naptime=1"),
		withSetting("worker_spi.database="+database), withSetting("launcher_databases="+database), withEnvironment(withLauncher+"=/dev/null"))
	t.Cleanup(func() {
		if !t.Failed() {
			h.stop()
		}
	})
	h.eventually("the control server", func() bool {
		client, err := control.Dial(t.Context(), h.dir)
		if err == nil {
			client.Close()
		}
		return err == nil
	})
	return runningHost{t, h.dir, conninfo}
}

// installExtension installs an extension, as "pgexthost extension install" does.
func installExtension(t *testing.T, conninfo, name string) {
	t.Helper()
	config, err := connect.ParseConninfo(conninfo)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	conn, err := connect.Open(ctx, config, "installer")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.HangUp(ctx)
	if _, err := sql.Scripts().Install(ctx, conn, name, "public"); err != nil {
		t.Fatal(err)
	}
}

// ask asks the host's control server.
func (h runningHost) ask(r control.Request) control.Response {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), limit)
	defer cancel()
	client, err := control.Dial(ctx, h.dir)
	if err != nil {
		h.t.Fatal(err)
	}
	defer client.Close()
	answer, err := client.Do(ctx, r)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer
}

// eventually waits until something is so.
func (h runningHost) eventually(what string, condition func() bool) {
	h.t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			h.t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// follows checks that the worker of a table counts what is inserted there.
func (h runningHost) follows(schema string) {
	h.t.Helper()
	counted := pgx.Identifier{schema, "counted"}.Sanitize()
	h.eventually(counted, func() bool {
		return query[bool](h.t, h.conninfo, fmt.Sprintf("SELECT to_regclass('%s') IS NOT NULL", counted))
	})
	execSQL(h.t, h.conninfo, "INSERT INTO "+counted+" VALUES ('total', 0) ON CONFLICT DO NOTHING")
	before := query[int](h.t, h.conninfo, "SELECT value FROM "+counted+" WHERE type = 'total'")
	execSQL(h.t, h.conninfo, "INSERT INTO "+counted+" VALUES ('delta', 10), ('delta', 100)")
	h.eventually("the deltas to be gone", func() bool {
		return query[int](h.t, h.conninfo, "SELECT count(*) FROM "+counted+" WHERE type = 'delta'") == 0
	})
	if total := query[int](h.t, h.conninfo, "SELECT value FROM "+counted+" WHERE type = 'total'"); total != before+110 {
		h.t.Errorf("the total of %s went from %d to %d", counted, before, total)
	}
}

func TestTotalsFollowOutside(t *testing.T) {
	h := newRunningHost(t)
	h.follows("schema1")
	h.follows("schema2")
}

func TestAHostOutsideFulfilsRequests(t *testing.T) {
	h := newRunningHost(t)
	request := query[int](t, h.conninfo, "SELECT pgexthost.launch('worker_spi', 'worker_spi_main', 'outside', main_arg => 7)")
	pid := query[int](t, h.conninfo, fmt.Sprintf("SELECT pgexthost.wait_for_startup(%d)", request))
	h.follows("schema7")
	if backend := query[int](t, h.conninfo, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'outside'"); backend != 1 {
		t.Errorf("worker %d has %d sessions", pid, backend)
	}
	execSQL(t, h.conninfo, fmt.Sprintf("SELECT pgexthost.terminate(%d)", request))
	if state := query[string](t, h.conninfo, fmt.Sprintf("SELECT pgexthost.wait_for_shutdown(%d)", request)); state != "ended" {
		t.Errorf("the request has %s", state)
	}
}

func TestAHostOutsideAnswersOnItsSocket(t *testing.T) {
	h := newRunningHost(t)
	launched := h.ask(control.Request{Op: control.OpLaunch, Wait: true, Launch: &control.Launch{
		Library: workerspi.LibraryName, Function: "worker_spi_main", Name: "from the socket", Arg: 8, RestartTime: plugins.NeverRestart, Start: plugins.StartAtRecoveryFinished, Database: true,
	}})
	if launched.Error != nil || launched.Pid == 0 {
		t.Fatalf("%+v", launched)
	}
	rows := h.ask(control.Request{Op: control.OpPs}).Workers
	if !slices.ContainsFunc(rows, func(w control.Worker) bool { return w.Pid == launched.Pid && w.Name == "from the socket" }) {
		t.Errorf("ps does not show process %d: %+v", launched.Pid, rows)
	}
	for _, static := range []string{"worker_spi worker 1", "worker_spi worker 2"} {
		if !slices.ContainsFunc(rows, func(w control.Worker) bool { return w.Name == static }) {
			t.Errorf("ps does not show %s: %+v", static, rows)
		}
	}
	h.ask(control.Request{Op: control.OpTerminate, Target: launched.Handle, Wait: true})
	h.eventually("the worker to be gone", func() bool {
		rows := h.ask(control.Request{Op: control.OpPs}).Workers
		return !slices.ContainsFunc(rows, func(w control.Worker) bool { return w.Name == "from the socket" })
	})
}

// Whoever turns the tests to a server of his own shall know what has not been
// tested.
func TestATestThatHarmsItsServerSkipsItselfOutside(t *testing.T) {
	t.Setenv(outsideServer, "host=nowhere.invalid")
	ran := false
	t.Run("harm", func(t *testing.T) {
		ownServer(t)
		ran = true
	})
	if ran {
		t.Error("it has got a server all the same")
	}
	if got := sharedServer(t).ConnInfo(); got != "host=nowhere.invalid" {
		t.Errorf("the tests would use %q", got)
	}
}
