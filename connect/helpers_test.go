package connect_test

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testContext ends with the test's patience.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// fakeWorker is what connect needs of a *plugins.Worker.
type fakeWorker struct {
	name     string
	conninfo string
	bypass   string // allow_bypass_allowconn

	mu       sync.Mutex
	session  plugins.Session
	database string
	activity []string
	reports  []*elog.ErrorData
}

func newWorker(conninfo string) *fakeWorker { return &fakeWorker{name: "tester", conninfo: conninfo} }

func (w *fakeWorker) Entry() plugins.BackgroundWorker { return plugins.BackgroundWorker{Name: w.name} }
func (w *fakeWorker) ServerConninfo() string          { return w.conninfo }

func (w *fakeWorker) ShowSetting(name string) (string, error) {
	if name != settings.AllowBypassAllowConn {
		return "", errors.New("not that one")
	}
	return cmp.Or(w.bypass, "off"), nil
}

func (w *fakeWorker) InitializeSession(open func() (plugins.Session, error)) (err error) {
	if w.session, err = open(); err == nil {
		w.database = w.session.Database()
	}
	return err
}

func (w *fakeWorker) ReportActivity(state plugins.ActivityState, query string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := map[plugins.ActivityState]string{
		plugins.StateIdle: "idle", plugins.StateRunning: "active", plugins.StateIdleInTransaction: "idle in transaction",
	}[state]
	if query != "" {
		name += ": " + query
	}
	w.activity = append(w.activity, name)
}

func (w *fakeWorker) Ereport(e *elog.ErrorData) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports = append(w.reports, e)
}

// open opens a session that the test's end closes.
func open(t testing.TB, conninfo, database string, opts ...connect.Option) *connect.Conn {
	t.Helper()
	conn, err := connect.Initialize(testContext(t), newWorker(conninfo), database, "", 0, opts...)
	check(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// query returns one value as text.
func query(t testing.TB, conn *connect.Conn, sql string, args ...any) string {
	t.Helper()
	var value string
	check(t, conn.QueryRow(testContext(t), sql, append([]any{pgx.QueryExecModeSimpleProtocol}, args...)...).Scan(&value))
	return value
}

// report is err as the report it must be.
func report(t testing.TB, err error) *elog.ErrorData {
	t.Helper()
	var e *elog.ErrorData
	if !errors.As(err, &e) {
		t.Fatalf("got %T %v, want an *elog.ErrorData", err, err)
	}
	return e
}

// eventually polls until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}
