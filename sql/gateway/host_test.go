package gateway

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/sql"
)

// fakeHost is a host whose workers start at once, or not until they may.
type fakeHost struct {
	mu      sync.Mutex
	held    bool
	altered []string
	looks   atomic.Int64 // at a worker that somebody waits for
}

// workerPid is what all of its workers have.
const workerPid = 4711

func (h *fakeHost) Pid() int                                { return os.Getpid() }
func (h *fakeHost) PostmasterPid() int                      { return 0 }
func (h *fakeHost) BackgroundWorkers() []plugins.WorkerInfo { return nil }

func (h *fakeHost) RegisterDynamicBackgroundWorker(plugins.BackgroundWorker) (plugins.Handle, error) {
	return plugins.ParseHandle("0000000000000001.1.1")
}

func (h *fakeHost) AlterSystem(name string, value *string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.altered = append(h.altered, name+"="+*value)
	return nil
}

func (h *fakeHost) GetBackgroundWorkerPid(plugins.Handle) (plugins.HandleStatus, int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held {
		h.looks.Add(1)
		return plugins.HandleNotYetStarted, 0, nil
	}
	return plugins.HandleStarted, workerPid, nil
}

func (h *fakeHost) hold(held bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = held
}

// hosted is a gateway with a host behind it, and a database with schema pgexthost.
type hosted struct {
	*bed
	host     *fakeHost
	database string
}

func newHosted(t testing.TB) *hosted {
	t.Helper()
	return newHostedAs(t, "postgres")
}

// newHostedAs has the host log in as a role.
func newHostedAs(t testing.TB, role string) *hosted {
	t.Helper()
	h := &hosted{host: &fakeHost{}, database: theServer.NewDatabase(t, "postgres")}
	config, err := connect.ParseConninfo(theServer.Conninfo(t, h.database, "postgres"))
	check(t, err)
	conn, err := connect.Open(testContext(t), config, t.Name())
	check(t, err)
	defer conn.HangUp(context.Background())
	_, err = sql.Scripts().Install(testContext(t), conn, "pgexthost", "public")
	check(t, err)
	h.bed = newBedWith(t, sharedServer(t).ConnInfo()+" user="+role, h.host)
	return h
}

// conninfo leads through the gateway to the database.
func (h *hosted) conninfo(user string) string {
	return strings.Replace(h.unix(user), "dbname=postgres", "dbname="+h.database, 1)
}

func (h *hosted) connect(t testing.TB) *pgx.Conn {
	t.Helper()
	return open(t, h.conninfo("postgres"))
}

// do runs one statement or several.
func do(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if err := try(t, conn, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func try(t testing.TB, conn *pgx.Conn, sql string) error {
	t.Helper()
	_, err := conn.PgConn().Exec(testContext(t), sql).ReadAll()
	return err
}

// isForgotten waits until nobody looks for a worker any more.
func (h *fakeHost) isForgotten(t *testing.T) { isStuck(t, &h.looks) }

// hasAltered reports whether exactly these settings were changed.
func (h *fakeHost) hasAltered(want ...string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Equal(h.altered, want)
}
