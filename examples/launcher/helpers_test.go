package launcher

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

// bench is what a test works with: a host, and databases that no other test's
// launcher sees, because their names begin with its prefix.
type bench struct {
	t      *testing.T
	server *pluginstest.Postgres
	prefix string
	host   *pluginstest.Host
}

var benches atomic.Int32

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchOn(t, pluginstest.Server(t))
}

func newBenchOn(t *testing.T, server *pluginstest.Postgres) *bench {
	t.Helper()
	if err := host.Supported(); err != nil {
		t.Skip(err) // before anything is made for it
	}
	b := &bench{t: t, server: server, prefix: fmt.Sprintf("bench%d_", benches.Add(1))}
	t.Cleanup(b.dropAll)
	return b
}

// dropAll drops the databases of a test that is over.
func (b *bench) dropAll() {
	for _, name := range strings.Fields(b.query("", "SELECT string_agg(datname, ' ') FROM pg_database WHERE starts_with(datname, '"+b.prefix+"')")) {
		b.exec("", "DROP DATABASE "+name+" WITH (FORCE)")
	}
}

// start starts the host, with settings that are "name=value" each.
func (b *bench) start(settings ...string) {
	b.t.Helper()
	all := map[string]string{
		"max_worker_processes": "20", "log_min_messages": "debug1",
		"analyzer.naptime": "100ms", "analyzer.include": b.prefix + "*",
	}
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		all[name] = value
	}
	b.host = pluginstest.StartHost(b.t, pluginstest.HostOptions{Server: b.server, Settings: all})
}

// countLog returns how many records of the log match by now.
func (b *bench) countLog(pattern string) int {
	n, re := 0, regexp.MustCompile(pattern)
	for _, r := range b.host.Log() {
		if re.MatchString(r.String()) {
			n++
		}
	}
	return n
}

// started is the log line of the start of a database's worker.
func (b *bench) started(name string) string {
	return `starting background worker process "analyzer of ` + b.prefix + name + `"`
}

// ended is the log line of its end.
func (b *bench) ended(name string) string {
	return `unregistering background worker "analyzer of ` + b.prefix + name + `"`
}

// awaitNextLaunch waits until the launcher has gone round again.
func (b *bench) awaitNextLaunch() {
	b.t.Helper()
	b.create("later")
	b.awaitConnected("later")
}

func (b *bench) eventually(what string, condition func() bool) {
	b.t.Helper()
	pluginstest.Await(b.t, what, condition)
}

// create creates a database, with the bench's prefix.
func (b *bench) create(name string) {
	b.t.Helper()
	b.exec("", "CREATE DATABASE "+pgx.Identifier{b.prefix + name}.Sanitize())
}

// exec runs a statement in a database, which is "" for the maintenance database.
func (b *bench) exec(database, sql string) {
	b.t.Helper()
	_ = b.query(database, sql)
}

// query returns the first column of the first row as text.
func (b *bench) query(database, sql string) (value string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // dropAll queries, too
	defer cancel()
	conn := b.connect(ctx, database)
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql, pgx.QueryExecModeExec)
	if err == nil {
		defer rows.Close()
		if rows.Next() {
			if values, err := rows.Values(); err == nil && len(values) > 0 {
				value = fmt.Sprint(values[0])
			}
		}
		rows.Close()
		err = rows.Err()
	}
	if err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func (b *bench) connect(ctx context.Context, database string) *pgx.Conn {
	b.t.Helper()
	config, err := pgx.ParseConfig(b.server.Conninfo())
	if err != nil {
		b.t.Fatal(err)
	}
	if database != "" {
		config.Database = b.prefix + database
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		b.t.Fatal(err)
	}
	return conn
}

// connected returns how many analyzers are connected to a database.
func (b *bench) connected(name string) string {
	b.t.Helper()
	return b.query("", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'analyzer of %' AND datname = '"+b.prefix+name+"'")
}

func (b *bench) awaitConnected(names ...string) {
	b.t.Helper()
	for _, name := range names {
		b.eventually("an analyzer of "+name, func() bool { return b.connected(name) == "1" })
	}
}
