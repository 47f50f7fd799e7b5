package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

// bench is what a test works with: a database with a queue, and a host whose
// workers serve it.
type bench struct {
	t    *testing.T
	db   *pluginstest.Postgres
	name string // of the database
	tmp  string // for what handlers leave outside the database
	host *pluginstest.Host
}

// newBench makes a database on the shared server and starts a host for it.
func newBench(t *testing.T, settings ...string) *bench {
	t.Helper()
	b := newBenchWithoutHost(t)
	b.startHost(settings...)
	return b
}

func newBenchWithoutHost(t *testing.T) *bench {
	t.Helper()
	return newBenchOn(t, pluginstest.Server(t))
}

// newBenchOn makes a database on some server, with the table of the tests.
func newBenchOn(t *testing.T, server *pluginstest.Postgres) *bench {
	t.Helper()
	b := &bench{t: t, db: server.NewDatabase(t), tmp: t.TempDir()}
	b.name = b.query("SELECT current_database()")
	b.exec("CREATE TABLE effect (job bigint, at timestamptz DEFAULT clock_timestamp())")
	return b
}

// startHost starts the host, with settings that are "name=value" each, and waits
// until its workers have made the tables.
func (b *bench) startHost(settings ...string) {
	b.t.Helper()
	all := map[string]string{"queue.database": b.name, "log_min_messages": "debug1"}
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		all[name] = value
	}
	b.host = pluginstest.StartHost(b.t, pluginstest.HostOptions{Server: b.db, Settings: all})
	b.eventually("the queue's tables", func() bool { return b.query("SELECT to_regclass('queue.status') IS NOT NULL") == "true" })
}

func (b *bench) eventually(what string, condition func() bool) {
	b.t.Helper()
	pluginstest.Await(b.t, what, condition)
}

// tryQuery returns the first column of the first row as text.
func (b *bench) tryQuery(sql string, args ...any) (value string, err error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	config, err := pgx.ParseConfig(b.db.Conninfo())
	if err != nil {
		return "", err
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	if rows.Next() {
		if values, err := rows.Values(); err == nil && len(values) > 0 {
			value = fmt.Sprint(values[0])
		}
	}
	rows.Close()
	return value, rows.Err()
}

func (b *bench) query(sql string, args ...any) string {
	b.t.Helper()
	value, err := b.tryQuery(sql, args...)
	if err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	_ = b.query(sql, args...)
}

// enqueue adds a job of a kind and returns its number. The handlers of the tests
// find the bench's directory in the payload.
func (b *bench) enqueue(kind string) string {
	b.t.Helper()
	return b.query("SELECT queue.enqueue($1, $2::jsonb)", kind, b.payload())
}

func (b *bench) payload() string {
	text, err := json.Marshal(map[string]string{"dir": b.tmp})
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// awaitEmpty waits until no job is left.
func (b *bench) awaitEmpty() {
	b.t.Helper()
	b.eventually("the end of all jobs", func() bool { n, err := b.tryQuery("SELECT count(*) FROM queue.job"); return err == nil && n == "0" })
}

// expect compares what a query returns.
func (b *bench) expect(want, sql string, args ...any) {
	b.t.Helper()
	if got := b.query(sql, args...); got != want {
		b.t.Errorf("%s: got %s, want %s", sql, got, want)
	}
}

// begun returns the processes that have begun a job, or with "" any job, from
// what the handlers have left outside the database.
func (b *bench) begun(job string) (pids []int) {
	for _, line := range b.beginnings() {
		id, pid, _ := strings.Cut(line, " ")
		if n, err := strconv.Atoi(pid); err == nil && (id == job || job == "") {
			pids = append(pids, n)
		}
	}
	return pids
}

// beginnings returns a line for each attempt that has begun: job and process.
func (b *bench) beginnings() []string {
	text, err := os.ReadFile(filepath.Join(b.tmp, "begun"))
	if err != nil || len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// awaitBegun waits until a job has begun n times and returns the last process.
func (b *bench) awaitBegun(job string, n int) int {
	b.t.Helper()
	var pids []int
	b.eventually("job "+job+" to begin", func() bool { pids = b.begun(job); return len(pids) >= n })
	return pids[len(pids)-1]
}

// letGo ends the waiting of the handlers "hold".
func (b *bench) letGo() {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.tmp, "go"), nil, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
