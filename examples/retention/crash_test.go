package main

import (
	"context"
	"errors"
	"strings"
	"testing"
)

var errStopped = errors.New("stopped here")

// stopBefore makes the manager fail before a statement that contains the texts.
func (m *testManager) stopBefore(texts ...string) {
	m.before = func(sql string) error {
		for _, text := range texts {
			if !strings.Contains(sql, text) {
				return nil
			}
		}
		m.conn.HangUp(context.Background())
		return errStopped
	}
}

// crashWorld is a table of another owner for which there is all kinds of work
// to do: partitions to create, with rows of the default partition or without, and
// others to retire.
func crashWorld(d *database, rest bool) {
	d.exec(`DROP SCHEMA IF EXISTS retention, archive CASCADE; DROP TABLE IF EXISTS p, p_p2026_09, p_p2026_10 CASCADE; CREATE SCHEMA archive`)
	d.exec(monthly)
	if rest {
		d.exec(`CREATE TABLE rest PARTITION OF p DEFAULT; INSERT INTO p VALUES ('2027-01-10'), ('2027-02-10')`)
	}
	d.exec(`DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT relid FROM pg_partition_tree('p') LOOP EXECUTE format('ALTER TABLE %s OWNER TO crash_owner', t); END LOOP; END $$`)
}

// The worker is stopped before its first statement, its second, and so on, each
// time in a world made anew, and another one takes over. What comes out is what
// comes out if nobody is stopped.
func TestAWorkerStoppedBeforeAnyStatementIsResumed(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: it runs without -short")
	}
	d := newDatabase(t)
	d.role("crash_owner", "")
	d.exec("GRANT CREATE ON SCHEMA public TO crash_owner")
	for _, tt := range []struct {
		name, policy string
		rest         bool
		want, rows   string
	}{
		{name: "drop", policy: "on_expiry => 'drop'", rows: "2",
			want: "public.p_p2026_11 attached\npublic.p_p2026_12 attached\npublic.p_p2027_01 attached\npublic.p_p2027_02 attached"},
		{name: "move, with a default partition", policy: "on_expiry => 'move', archive_schema => 'archive', on_default => 'move'", rest: true, rows: "4",
			want: "archive.p_p2026_09 detached\narchive.p_p2026_10 detached\npublic.p_p2026_11 attached\npublic.p_p2026_12 attached\npublic.p_p2027_01 attached\npublic.p_p2027_02 attached"},
	} {
		n, statement := 1, ""
		for ; n == 1 || statement != ""; n++ {
			crashWorld(d, tt.rest)
			statement = d.stoppedAt(n, tt.policy)
			m := d.leader("").at(d, "2026-12-31 00:00:00Z")
			d.crashPolicy(tt.policy)
			m.work(d)
			if got := d.where(); got != tt.want {
				t.Errorf("%s: stopped before statement %d, %s, got:\n%s\nwant:\n%s", tt.name, n, statement, got, tt.want)
			}
			got := d.text("SELECT count(*) || ' ' || (SELECT count(*) FROM retention.retiring) || ' ' || (SELECT count(DISTINCT relowner) FROM pg_class WHERE relname ~ '^p(_p.*)?$') FROM p")
			if got != tt.rows+" 0 1" {
				t.Errorf("%s: stopped before statement %d, %s: rows, journal entries and owners are %s", tt.name, n, statement, got)
			}
			if got := m.problems(); got != "" {
				t.Errorf("%s: stopped before statement %d, %s: %s", tt.name, n, statement, got)
			}
			m.conn.HangUp(t.Context())
			if t.Failed() {
				t.FailNow()
			}
		}
		t.Logf("%s: stopped before each of %d statements", tt.name, n-2)
		if n < 50 {
			t.Errorf("%s: only %d statements: this tests nothing", tt.name, n)
		}
	}
}

// stoppedAt lets a worker begin and loses it before its nth statement, which it
// returns; or returns "" if it needs fewer.
func (d *database) stoppedAt(n int, policy string) (statement string) {
	m := d.manager("").at(d, "2026-12-31 00:00:00Z")
	defer func() { m.conn.HangUp(d.Context()) }()
	m.before = func(sql string) error {
		if n--; n > 0 {
			return nil
		}
		statement = sql
		m.conn.HangUp(d.Context())
		return errStopped
	}
	d.await("the advisory lock to be free", func() bool {
		return d.text("SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = $1)", d.name) == "0"
	})
	if leads, err := m.lead(d.Context()); err != nil || !leads {
		return statement
	}
	d.crashPolicy(policy)
	if _, err := m.round(d.Context()); err != nil {
		return statement
	}
	return ""
}

func (d *database) crashPolicy(policy string) {
	d.Helper()
	if d.text("SELECT 'there' FROM retention.policy") == "" {
		d.policy("p", "every => '1 month', premake => 2, keep => '1 month', "+policy)
	}
}
