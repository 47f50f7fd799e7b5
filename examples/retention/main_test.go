package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

func TestMain(m *testing.M) {
	s := settings{before: dieNow}
	os.Exit(pluginstest.Main(m, s.library()))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// database is a database of a test's own, and a session with it.
type database struct {
	*testing.T
	db   *pluginstest.Postgres
	name string
	*pgx.Conn
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	d := &database{T: t, db: pluginstest.Server(t).NewDatabase(t)}
	d.Conn = d.connect()
	d.name = d.Config().Database
	return d
}

// connect opens another session, as an application would.
func (d *database) connect() *pgx.Conn {
	d.Helper()
	return d.db.Connect(d)
}

// role makes a role, which all databases of the server have, for this test only.
func (d *database) role(name, options string) {
	d.Helper()
	d.exec("CREATE ROLE " + name + " " + options)
	d.Cleanup(func() {
		if _, err := d.Exec(context.Background(), "RESET ROLE; DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name); err != nil {
			d.Error(err)
		}
	})
}

func (d *database) exec(sql string, args ...any) {
	d.Helper()
	if _, err := d.Exec(d.Context(), sql, args...); err != nil {
		d.Fatalf("%v\n%s", err, sql)
	}
}

// text returns the rows of a query that has one column of text, on lines.
func (d *database) text(sql string, args ...any) string {
	d.Helper()
	rows, err := d.Query(d.Context(), sql, args...)
	check(d, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	check(d, err)
	return strings.Join(lines, "\n")
}

func (d *database) want(want, sql string, args ...any) {
	d.Helper()
	if got := d.text(sql, args...); got != want {
		d.Errorf("%s\ngot:\n%s\nwant:\n%s", sql, got, want)
	}
}

// partitions returns a table's partitions with their bounds.
func (d *database) partitions(parent string) string {
	d.Helper()
	return d.text(`SET TimeZone = 'UTC'`) + d.text(`
		SELECT c.relname || ' ' || replace(pg_get_expr(c.relpartbound, c.oid), 'FOR VALUES ', '')
		FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = $1::text::regclass ORDER BY i.inhdetachpending, c.relname COLLATE "C"`, parent)
}

func (d *database) wantPartitions(parent string, want ...string) {
	d.Helper()
	if got := d.partitions(parent); got != strings.Join(want, "\n") {
		d.Errorf("partitions of %s, got:\n%s\nwant:\n%s", parent, got, strings.Join(want, "\n"))
	}
}

// testManager is a manager whose reports are kept.
type testManager struct {
	*manager
	reports []*elog.ErrorData
}

// manager returns one that works as the given role, or as the superuser.
func (d *database) manager(role string) *testManager {
	d.Helper()
	conninfo := d.db.Conninfo()
	if role != "" {
		conninfo += " user=" + role
	}
	config, err := connect.ParseConninfo(conninfo)
	check(d, err)
	config, err = config.ForDatabase(d.name)
	check(d, err)
	conn, err := connect.Open(d.Context(), config, d.Name(), sessionOptions()...)
	check(d, err)
	d.Cleanup(func() { conn.HangUp(context.Background()) })
	m := &testManager{}
	m.manager = newManager(conn, func(e *elog.ErrorData) { m.reports = append(m.reports, e) })
	m.limits = limits{lock: 500 * time.Millisecond, hold: time.Minute, batch: 100, logKeep: time.Hour}
	return m
}

// leader is a manager that has the lock and its schema.
func (d *database) leader(role string) *testManager {
	d.Helper()
	m := d.manager(role)
	d.await("the advisory lock", func() bool {
		leads, err := m.lead(d.Context())
		check(d, err)
		return leads
	})
	return m
}

// tended returns a database in which a script was run, and a manager for its table p,
// which has the given policy. The manager takes now for the time, unless it is empty.
func tended(t *testing.T, script, now, policy string) (*database, *testManager) {
	t.Helper()
	d := newDatabase(t)
	d.exec(script)
	m := d.leader("")
	if now != "" {
		m.at(d, now)
	}
	d.policy("p", policy)
	return d, m
}

func (m *testManager) at(d *database, now string) *testManager {
	d.Helper()
	t, err := time.Parse("2006-01-02 15:04:05.999999Z07", now)
	check(d, err)
	m.clock = &t
	return m
}

// work goes round until there is nothing left to do, and returns the last result.
func (m *testManager) work(d *database) result {
	d.Helper()
	for range 100 {
		r, err := m.round(d.Context())
		check(d, err)
		if testing.Verbose() {
			d.Log(m.show())
		}
		if !r.more {
			return r
		}
	}
	d.Fatal("there is always more to do")
	return result{}
}

// show returns what was reported, and log returns it and forgets it.
func (m *testManager) show() string {
	var lines []string
	for _, e := range m.reports {
		lines = append(lines, fmt.Sprintf("%s:  %s", e.Level, e.Error()))
	}
	return strings.Join(lines, "\n")
}

func (m *testManager) log() string {
	defer func() { m.reports = nil }()
	return m.show()
}

func (d *database) await(what string, done func() bool) {
	d.Helper()
	pluginstest.Await(d, what, done)
}
