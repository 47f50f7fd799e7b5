package main

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Applications insert, in transactions short and long, and read, while twenty
// days pass. No insert fails, and no row is lost.
func TestApplicationsNoticeNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: it runs without -short")
	}
	for _, tt := range []struct {
		name, rest, policy string
		ahead              []int // days at which applications insert rows
	}{
		{"without a default partition", "", "on_expiry => 'detach'", []int{0, 1, 2}},
		{"with one, which rows are moved from", "CREATE TABLE rest PARTITION OF p DEFAULT", "on_expiry => 'detach', on_default => 'move'", []int{0, 1, 2, 5, 9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDatabase(t)
			d.exec("CREATE TABLE p (at timestamptz NOT NULL) PARTITION BY RANGE (at); CREATE INDEX ON p (at)")
			d.exec(tt.rest)
			start := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
			m := d.leader("")
			m.clock = &start
			m.limits.lock = 100 * time.Millisecond
			d.policy("p", "every => '1 day', premake => 3, keep => '3 days', "+tt.policy)
			m.work(d)

			var now, inserted atomic.Int64
			now.Store(start.Unix())
			ctx, stop := context.WithCancel(t.Context())
			var applications sync.WaitGroup
			all := make([]*application, 4)
			for i := range all {
				a := &application{conn: d.connect(), now: &now, ahead: tt.ahead, slow: i == 0}
				all[i] = a
				a.since.Store(start.Unix())
				applications.Go(func() {
					defer a.since.Store(math.MaxInt64)
					for ctx.Err() == nil {
						n, err := a.transact(t.Context())
						if err != nil {
							t.Errorf("an application failed: %v", err)
							return
						}
						inserted.Add(n)
					}
				})
			}
			for day := range 20 {
				today := start.AddDate(0, 0, day)
				m.clock = &today
				// No application shall insert what has just expired.
				d.await("the transactions of three days ago", func() bool {
					return !slices.ContainsFunc(all, func(a *application) bool { return a.since.Load() < today.AddDate(0, 0, -2).Unix() })
				})
				d.await("a round that is not blocked", func() bool { return m.work(d).blocked == 0 })
				now.Store(today.Unix())
			}
			stop()
			applications.Wait()
			m.work(d)
			if got := d.countAll(); got != inserted.Load() {
				t.Errorf("%d rows, of %d inserted", got, inserted.Load())
			}
			d.want("true", "SELECT (count(*) >= 15)::text FROM retention.log WHERE action = 'detached'")
			t.Logf("%d rows", inserted.Load())
		})
	}
}

type application struct {
	conn  *pgx.Conn
	now   *atomic.Int64
	ahead []int
	slow  bool
	since atomic.Int64 // when its transaction began
}

// transact reads and inserts, and returns how many rows it has inserted.
func (a *application) transact(ctx context.Context) (n int64, err error) {
	began := a.now.Load()
	a.since.Store(began)
	err = pgx.BeginFunc(ctx, a.conn, func(tx pgx.Tx) error {
		for _, days := range a.ahead {
			at := time.Unix(began, 0).AddDate(0, 0, days)
			if _, err := tx.Exec(ctx, "INSERT INTO p VALUES ($1)", at); err != nil {
				return err
			}
			n++
			if a.slow {
				if _, err := tx.Exec(ctx, "SELECT count(*), pg_sleep(0.05) FROM p"); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return n, err
}

// countAll counts the rows of a table with all partitions, detached ones as well.
func (d *database) countAll() (n int64) {
	d.Helper()
	tables := d.text("SELECT string_agg(format('SELECT count(*) FROM %s', oid::regclass), ' UNION ALL ') FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
	check(d, d.QueryRow(d.Context(), "SELECT sum(count)::bigint FROM ("+tables+") AS c").Scan(&n))
	return n
}

func TestALockThatIsNotToBeHadKeepsNobodyWaiting(t *testing.T) {
	d, m := tended(t, monthly+"CREATE TABLE rest PARTITION OF p DEFAULT", "2026-12-01 00:00:00Z", "every => '1 month', premake => 1, keep => '2 months', on_expiry => 'drop'")
	other := d.connect()
	_, err := other.Exec(t.Context(), "BEGIN; SELECT FROM p; INSERT INTO p VALUES ('2026-12-01')")
	check(t, err)
	for n := 1; n <= 3; n++ {
		r, err := m.round(t.Context())
		check(t, err)
		if r.blocked != n || r.more {
			t.Fatalf("got %+v", r)
		}
		d.exec("INSERT INTO p VALUES ('2026-12-02')") // although the other transaction is still open
	}
	if got := m.log(); got != "LOG:  retention: looking after the tables of database \""+d.name+"\"\n"+
		`LOG:  could not create partition "public.p_p2027_01" FOR VALUES FROM ('2027-01-01 00:00:00+00') TO ('2027-02-01 00:00:00+00'): canceling statement due to lock timeout: It will be tried again soon.` {
		t.Errorf("got %s", got)
	}
	_, err = other.Exec(t.Context(), "COMMIT")
	check(t, err)
	if r := m.work(d); r.blocked != 0 {
		t.Errorf("got %+v", r)
	}
	d.wantWhere("public.p_p2026_10 attached", "public.p_p2026_11 attached", "public.p_p2026_12 attached", "public.p_p2027_01 attached")
}

// A worker that is stopped by SIGSTOP, or whose machine hangs, may hold a lock.
func TestAWorkerThatHangsLosesItsLocks(t *testing.T) {
	d, m := tended(t, monthly+"CREATE TABLE rest PARTITION OF p DEFAULT", "2026-12-01 00:00:00Z", "every => '1 month', premake => 1")
	m.limits.hold = 300 * time.Millisecond
	inserted := false
	m.stopAt("ATTACH PARTITION", func() error {
		d.exec("INSERT INTO p VALUES ('2026-12-02')") // waits for the lock
		inserted = true
		return nil
	})
	if _, err := m.round(t.Context()); err == nil || !inserted {
		t.Errorf("got %v, inserted: %v", err, inserted)
	}
	d.leader("").at(d, "2026-12-01 00:00:00Z").work(d)
	d.want("5", "SELECT count(inhrelid)::text FROM pg_inherits WHERE inhparent = 'p'::regclass AND inhrelid <> 'rest'::regclass")
}

func TestADetachmentThatIsInterruptedIsFinalized(t *testing.T) {
	for _, tt := range []struct {
		name      string
		interrupt func(d *database, m *testManager)
	}{
		{"by the time limit for locks", nil},
		{"by the end of the session", func(d *database, m *testManager) {
			d.exec("SELECT pg_terminate_backend($1)", m.conn.BackendPid())
		}},
		{"by an administrator", func(d *database, m *testManager) {
			d.exec("SELECT pg_cancel_backend($1)", m.conn.BackendPid())
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, m := tended(t, monthly, "2026-12-01 00:00:00Z", "every => '1 month', premake => 0, keep => '2 months', on_expiry => 'drop'")
			other := d.connect()
			_, err := other.Exec(t.Context(), "BEGIN; SELECT FROM p")
			check(t, err)

			ended := make(chan error, 1)
			if tt.interrupt != nil {
				m.limits.lock = time.Hour
			}
			go func() {
				_, err := m.round(context.Background())
				ended <- err
			}()
			d.await("the detachment to wait", func() bool { return strings.HasPrefix(d.where(), "public.p_p2026_09 pending") })
			if tt.interrupt != nil {
				// Until then it could just not have come to the wait.
				d.await("the wait", func() bool {
					return d.text("SELECT wait_event FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock' AND query LIKE '%/* retention: step 1 of 1 */%CONCURRENTLY'", m.conn.BackendPid()) != ""
				})
				tt.interrupt(d, m)
			}
			<-ended
			d.exec("INSERT INTO p VALUES ('2026-12-02')")
			d.want("detach pending", "SELECT state FROM retention.partitions WHERE partition = 'p_p2026_09'::regclass")
			if m.conn.IsClosed() {
				m = d.leader("").at(d, "2026-12-01 00:00:00Z")
			}
			m.limits.lock = 100 * time.Millisecond
			r, err := m.round(t.Context())
			check(t, err)
			if r.blocked == 0 {
				t.Errorf("it was finalized with a transaction open that may use it: %+v, %s", r, d.where())
			}
			_, err = other.Exec(t.Context(), "COMMIT")
			check(t, err)
			d.await("the end", func() bool { return m.work(d).blocked == 0 })
			d.wantWhere("public.p_p2026_10 attached", "public.p_p2026_11 attached", "public.p_p2026_12 attached")
			d.want("0", "SELECT count(*)::text FROM retention.retiring")
		})
	}
}

func TestADetachmentOfSomebodyElseIsLeftToHim(t *testing.T) {
	d, m := tended(t, monthly, "2026-12-01 00:00:00Z", "every => '1 month', premake => 1, keep => '2 months', on_expiry => 'drop'")
	other, admin := d.connect(), d.connect()
	_, err := other.Exec(t.Context(), "BEGIN; SELECT FROM p")
	check(t, err)
	_, err = admin.Exec(t.Context(), "SET lock_timeout = '10ms'")
	check(t, err)
	_, err = admin.Exec(t.Context(), "ALTER TABLE p DETACH PARTITION p_p2026_09 CONCURRENTLY")
	if err == nil {
		t.Fatal("it was detached at once")
	}
	_, err = other.Exec(t.Context(), "COMMIT")
	check(t, err)
	m.work(d)
	d.wantWhere("public.p_p2026_09 pending", "public.p_p2026_10 attached", "public.p_p2026_11 attached", "public.p_p2026_12 attached", "public.p_p2027_01 attached")
	d.want("somebody else is detaching partition \"public.p_p2026_09\", or was interrupted|ALTER TABLE \"public\".\"p\" DETACH PARTITION \"public\".\"p_p2026_09\" FINALIZE.",
		"SELECT problem || '|' || hint FROM retention.health")
}

func (m *testManager) stopAt(text string, then func() error) {
	m.before = func(sql string) error {
		if !strings.Contains(sql, text) {
			return nil
		}
		m.before = nil
		return then()
	}
}
