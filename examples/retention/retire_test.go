package main

import (
	"strings"
	"testing"
)

// monthly makes a table with a partition and a row for each month from
// September to December 2026.
const monthly = `CREATE TABLE p (at timestamptz NOT NULL) PARTITION BY RANGE (at);
	SET TimeZone = 'UTC';
	CREATE TABLE p_p2026_09 PARTITION OF p FOR VALUES FROM ('2026-09-01') TO ('2026-10-01');
	CREATE TABLE p_p2026_10 PARTITION OF p FOR VALUES FROM ('2026-10-01') TO ('2026-11-01');
	CREATE TABLE p_p2026_11 PARTITION OF p FOR VALUES FROM ('2026-11-01') TO ('2026-12-01');
	CREATE TABLE p_p2026_12 PARTITION OF p FOR VALUES FROM ('2026-12-01') TO ('2027-01-01');
	INSERT INTO p SELECT generate_series('2026-09-15', '2026-12-15', interval '1 month');`

// where says of each table of months what it is.
func (d *database) where() string {
	return d.text(`SELECT format('%s.%s %s', relnamespace::regnamespace, relname,
			CASE WHEN relispartition THEN (SELECT CASE WHEN inhdetachpending THEN 'pending' ELSE 'attached' END FROM pg_inherits WHERE inhrelid = c.oid) ELSE 'detached' END)
		FROM pg_class c WHERE relname LIKE 'p\_p%' AND relkind = 'r' ORDER BY relname`)
}

func (d *database) wantWhere(want ...string) {
	d.Helper()
	if got := d.where(); got != strings.Join(want, "\n") {
		d.Errorf("got:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func TestWhatHasExpiredGoesTheWayOfThePolicy(t *testing.T) {
	for _, tt := range []struct {
		name, policy string
		now          string
		want         []string
	}{
		{"one instant before", "on_expiry => 'drop'", "2026-11-30 23:59:59.999999Z",
			[]string{"public.p_p2026_10 attached", "public.p_p2026_11 attached", "public.p_p2026_12 attached"}},
		{"drop", "on_expiry => 'drop'", "2026-12-01 00:00:00Z",
			[]string{"public.p_p2026_11 attached", "public.p_p2026_12 attached"}},
		{"detach", "on_expiry => 'detach'", "2026-12-01 00:00:00Z",
			[]string{"public.p_p2026_09 detached", "public.p_p2026_10 detached", "public.p_p2026_11 attached", "public.p_p2026_12 attached"}},
		{"move", "on_expiry => 'move', archive_schema => 'Archive'", "2026-12-01 00:00:00Z",
			[]string{`"Archive".p_p2026_09 detached`, `"Archive".p_p2026_10 detached`, "public.p_p2026_11 attached", "public.p_p2026_12 attached"}},
	} {
		for _, rest := range []string{"", "CREATE TABLE rest PARTITION OF p DEFAULT"} {
			t.Run(tt.name+" "+rest, func(t *testing.T) {
				d, m := tended(t, monthly+rest+`; CREATE SCHEMA "Archive"`, tt.now, "every => '1 month', premake => 0, keep => '1 month', "+tt.policy)
				m.work(d)
				d.wantWhere(tt.want...)
				d.want("0", "SELECT count(*)::text FROM retention.retiring")
				m.wantNone(t)
				m.work(d)
				d.wantWhere(tt.want...)
			})
		}
	}
}

func TestWithoutKeepNothingExpires(t *testing.T) {
	d, m := tended(t, monthly, "2036-12-01 00:00:00Z", "every => '1 year', premake => 0, on_expiry => 'drop'")
	m.limits.batch = 10000
	m.work(d)
	d.want("4", "SELECT count(*)::text FROM p")
}

func TestWhatOthersNeedIsNotDropped(t *testing.T) {
	d, m := tended(t, monthly+"CREATE VIEW v AS SELECT * FROM p_p2026_09", "2026-12-01 00:00:00Z", "every => '1 month', premake => 0, keep => '1 month', on_expiry => 'drop'")
	m.work(d)
	// The others are not held up.
	d.wantWhere("public.p_p2026_09 detached", "public.p_p2026_11 attached", "public.p_p2026_12 attached")
	m.wantProblem(t, "cannot drop table public.p_p2026_09 because other objects depend on it")
	d.exec("DROP VIEW v")
	m.work(d)
	d.wantWhere("public.p_p2026_11 attached", "public.p_p2026_12 attached")
}

// begun leaves a retirement behind that ended before the given statement.
func (d *database) begun(t *testing.T, statement string) {
	t.Helper()
	m := d.leader("").at(d, "2026-12-01 00:00:00Z")
	m.stopBefore(statement, "p_p2026_09")
	if _, err := m.round(t.Context()); err == nil {
		t.Fatalf("nothing stopped before %s", statement)
	}
	m.conn.HangUp(t.Context())
}

func TestAChangedMindIsObeyed(t *testing.T) {
	for _, tt := range []struct{ name, stop, change, want, last string }{
		{"kept longer, before it is detached", "DETACH PARTITION", "UPDATE retention.policy SET keep = '1 year'", "attached", "kept"},
		{"kept longer, once it is detached", "DROP TABLE", "UPDATE retention.policy SET keep = '1 year'", "detached", "detached"},
		{"kept for ever", "DROP TABLE", "UPDATE retention.policy SET keep = NULL", "detached", "detached"},
		{"not to be dropped", "DROP TABLE", "UPDATE retention.policy SET on_expiry = 'detach'", "detached", "detached"},
		{"no policy any more, before", "DETACH PARTITION", "DELETE FROM retention.policy", "attached", "kept"},
		{"no policy any more, after", "DROP TABLE", "DELETE FROM retention.policy", "detached", "detached"},
		{"attached again", "DROP TABLE", "UPDATE retention.policy SET keep = '1 year'; ALTER TABLE p ATTACH PARTITION p_p2026_09 FOR VALUES FROM ('2026-09-01') TO ('2026-10-01')", "attached", "kept"},
		{"renamed", "DROP TABLE", "ALTER TABLE p_p2026_09 RENAME TO p_p0mine", "detached", "left alone"},
		{"another of that name", "DROP TABLE", "ALTER TABLE p_p2026_09 RENAME TO mine; CREATE TABLE p_p2026_09 ()", "detached", "left alone"},
		{"attached elsewhere", "DROP TABLE", "CREATE TABLE q (LIKE p) PARTITION BY RANGE (at); ALTER TABLE q ATTACH PARTITION p_p2026_09 DEFAULT", "attached", "left alone"},
		{"dropped", "DROP TABLE", "DROP TABLE p_p2026_09; CREATE TABLE p_p2026_09 ()", "detached", "gone"},
		{"the whole table dropped", "DETACH PARTITION", "DROP TABLE p; CREATE TABLE p_p2026_09 ()", "detached", "gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, m := tended(t, monthly, "", "every => '1 month', premake => 0, keep => '2 months', on_expiry => 'drop'")
			m.conn.HangUp(t.Context())
			d.begun(t, tt.stop)
			d.want("1", "SELECT count(*)::text FROM retention.retiring")
			d.exec(tt.change)
			m = d.leader("").at(d, "2026-12-01 00:00:00Z")
			m.work(d)
			d.want("0", "SELECT count(*)::text FROM retention.retiring")
			if got, _, _ := strings.Cut(d.where(), "\n"); !strings.HasSuffix(got, " "+tt.want) {
				t.Errorf("got %s", got)
			}
			d.want(tt.last, "SELECT action FROM retention.log WHERE partition = 'public.p_p2026_09' ORDER BY id DESC LIMIT 1")
		})
	}
}

func TestAPolicyThatChangesMeanwhileTakesNothingAway(t *testing.T) {
	for _, statement := range []string{"INSERT INTO retention.retiring", "DROP TABLE"} {
		d, m := tended(t, monthly, "2026-12-01 00:00:00Z", "every => '1 month', premake => 0, keep => '2 months', on_expiry => 'drop'")
		// What the round has read of the policy is out of date once this has run.
		m.before = func(sql string) error {
			if strings.Contains(sql, "FOR SHARE") && (statement != "DROP TABLE" || strings.Contains(d.where(), "p_p2026_09 detached")) {
				m.before = nil
				d.exec("UPDATE retention.policy SET keep = '1 year'")
			}
			return nil
		}
		r, err := m.round(t.Context())
		check(t, err)
		if r.blocked != 1 {
			t.Errorf("got %+v, %s", r, m.show())
		}
		if !strings.Contains(d.where(), "p_p2026_09") {
			t.Errorf("before %s: it was dropped", statement)
		}
	}
}
