package main

import (
	"strings"
	"testing"
)

// withDefault makes a table with a default partition that has rows of three
// months, of which none has a partition.
const withDefault = `CREATE TABLE p (id int, at timestamptz NOT NULL, twice int GENERATED ALWAYS AS (id * 2) STORED) PARTITION BY RANGE (at);
	CREATE TABLE rest (gone int, twice int GENERATED ALWAYS AS (id * 2) STORED, at timestamptz NOT NULL, id int);
	ALTER TABLE rest DROP gone; ALTER TABLE p ATTACH PARTITION rest DEFAULT;
	INSERT INTO p VALUES (1, '2025-02-03'), (2, '2026-08-31'), (3, '2026-11-01'), (4, '2026-11-30 23:59:59.999999+00'), (5, '2027-11-01')`

func TestRowsOfTheDefaultPartitionAreRefusedAndSaidSo(t *testing.T) {
	d, m := tended(t, withDefault, "2026-11-21 00:00:00Z", "every => '1 month', premake => 1")
	m.work(d)
	d.wantPartitions("p", "p_p2026_12 FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')", "rest DEFAULT")
	d.want(`23514|partition "public.p_p2026_11" was not created, because its rows are in the default partition`+
		`|Default partition public.rest has rows FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00').`+
		`|Move them yourself, or UPDATE retention.policy SET on_default = 'move'.|true`,
		"SELECT concat_ws('|', sqlstate, problem, detail, hint, CASE WHEN rows_in_default THEN 'true' END) FROM retention.status")
	m.log()
	m.work(d)
	if got := m.log(); got != "" {
		t.Errorf("it was said again: %s", got)
	}

	d.exec("DELETE FROM rest WHERE id IN (3, 4)")
	m.work(d)
	if got := m.log(); !strings.Contains(got, `table "public.p" has no problem any more`) {
		t.Errorf("got %s", got)
	}
	d.want("created\nproblem\ncreated\nsolved", "SELECT action FROM retention.log ORDER BY id")
}

func TestRowsOfTheDefaultPartitionAreMoved(t *testing.T) {
	d, m := tended(t, withDefault, "2026-11-21 00:00:00Z", "every => '1 month', premake => 1, on_default => 'move', keep => '1 year', on_expiry => 'drop'")
	m.work(d)
	d.wantPartitions("p",
		"p_p2026_08 FROM ('2026-08-01 00:00:00+00') TO ('2026-09-01 00:00:00+00')",
		"p_p2026_11 FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00')",
		"p_p2026_12 FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')",
		"rest DEFAULT")
	// What has expired, or is further ahead, stays where it is.
	d.want("rest 1 2\np_p2026_08 2 4\np_p2026_11 3 6\np_p2026_11 4 8\nrest 5 10", "SELECT concat_ws(' ', tableoid::regclass, id, twice) FROM p ORDER BY id")
	d.want("2", "SELECT count(*)::text FROM retention.log WHERE detail LIKE '%rows of the default partition'")
}

func TestMoreRowsThanTheLimitAreNotMoved(t *testing.T) {
	d, m := tended(t, withDefault, "2026-11-21 00:00:00Z", "every => '1 month', premake => 0, on_default => 'move', move_limit => 1")
	m.work(d)
	m.wantProblem(t, "has more than 1 rows FOR VALUES FROM ('2026-11-01")
	d.want("5", "SELECT count(*)::text FROM p")
	d.exec("UPDATE retention.policy SET move_limit = 2")
	m.work(d)
	d.want("2", "SELECT count(*)::text FROM p_p2026_11")
}

// A cascade would delete rows of other tables for good.
func TestRowsWithTriggersAreNotMoved(t *testing.T) {
	d, m := tended(t, `CREATE TABLE p (at date PRIMARY KEY) PARTITION BY RANGE (at); CREATE TABLE rest PARTITION OF p DEFAULT;
		CREATE TABLE r (at date REFERENCES p ON DELETE CASCADE);
		INSERT INTO p VALUES ('2026-11-21'); INSERT INTO r VALUES ('2026-11-21')`, "2026-11-21 00:00:00Z", "every => '1 month', premake => 0, on_default => 'move'")
	m.work(d)
	m.wantProblem(t, "rows of default partition public.rest cannot be moved")
	d.want("rest", "SELECT p.tableoid::regclass::text FROM p JOIN r USING (at)")
}

func TestNumbersInTheDefaultPartitionAreCaughtUpWith(t *testing.T) {
	d, m := tended(t, `CREATE TABLE p (id bigint NOT NULL) PARTITION BY RANGE (id); CREATE TABLE rest PARTITION OF p DEFAULT;
		INSERT INTO p SELECT generate_series(0, 55); INSERT INTO p VALUES (9000000000000000000)`, "", "every_n => 10, premake => 1, on_default => 'move', keep_n => 30, on_expiry => 'drop'")
	for range 6 { // a premake at a time
		m.work(d)
	}
	d.wantPartitions("p", "p_p20 FROM ('20') TO ('30')", "p_p30 FROM ('30') TO ('40')", "p_p40 FROM ('40') TO ('50')", "p_p50 FROM ('50') TO ('60')", "p_p60 FROM ('60') TO ('70')", "rest DEFAULT")
	d.want("9000000000000000000", "SELECT id::text FROM rest")
}
