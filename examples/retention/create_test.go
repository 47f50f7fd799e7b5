package main

import (
	"strings"
	"testing"
)

func TestPartitionsAreMadeAhead(t *testing.T) {
	for _, tt := range []struct{ name, column, policy, now, want string }{
		{
			"months, one instant before the year's end", "timestamptz", "every => '1 month', premake => 2", "2026-12-31 23:59:59.999999Z", `
			p_p2026_12 FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')
			p_p2027_01 FROM ('2027-01-01 00:00:00+00') TO ('2027-02-01 00:00:00+00')
			p_p2027_02 FROM ('2027-02-01 00:00:00+00') TO ('2027-03-01 00:00:00+00')`,
		}, {
			"months, at the boundary itself", "timestamptz", "every => '1 month', premake => 0", "2027-01-01 00:00:00Z",
			`p_p2027_01 FROM ('2027-01-01 00:00:00+00') TO ('2027-02-01 00:00:00+00')`,
		}, {
			"months before the origin", "timestamp", "every => '1 month', premake => 1", "2000-12-31 00:00:00Z", `
			p_p2000_12 FROM ('2000-12-01 00:00:00') TO ('2001-01-01 00:00:00')
			p_p2001_01 FROM ('2001-01-01 00:00:00') TO ('2001-02-01 00:00:00')`,
		}, {
			"months that begin in the middle", "date", "every => '1 month', premake => 1, origin => '2001-01-15'", "2026-03-14 23:00:00Z", `
			p_p2026_02_15 FROM ('2026-02-15') TO ('2026-03-15')
			p_p2026_03_15 FROM ('2026-03-15') TO ('2026-04-15')`,
		}, {
			"quarters", "date", "every => '3 months', premake => 1", "2026-11-21 00:00:00Z", `
			p_p2026_10 FROM ('2026-10-01') TO ('2027-01-01')
			p_p2027_01 FROM ('2027-01-01') TO ('2027-04-01')`,
		}, {
			"years", "date", "every => '1 year', premake => 1", "2024-02-29 00:00:00Z", `
			p_p2024 FROM ('2024-01-01') TO ('2025-01-01')
			p_p2025 FROM ('2025-01-01') TO ('2026-01-01')`,
		}, {
			"weeks begin on Monday", "date", "every => '1 week', premake => 1", "2026-11-22 12:00:00Z", `
			p_p2026_11_16 FROM ('2026-11-16') TO ('2026-11-23')
			p_p2026_11_23 FROM ('2026-11-23') TO ('2026-11-30')`,
		}, {
			"leap day", "timestamp", "every => '1 day', premake => 1", "2024-02-29 12:00:00Z", `
			p_p2024_02_29 FROM ('2024-02-29 00:00:00') TO ('2024-03-01 00:00:00')
			p_p2024_03_01 FROM ('2024-03-01 00:00:00') TO ('2024-03-02 00:00:00')`,
		}, {
			"hours", "timestamptz", "every => '6 hours', premake => 1", "2026-11-21 23:00:00Z", `
			p_p2026_11_21_1800 FROM ('2026-11-21 18:00:00+00') TO ('2026-11-22 00:00:00+00')
			p_p2026_11_22_0000 FROM ('2026-11-22 00:00:00+00') TO ('2026-11-22 06:00:00+00')`,
		}, {
			"days of 23 and 25 hours: spring", "timestamptz", "every => '1 day', premake => 2, time_zone => 'Europe/Berlin'", "2026-03-28 12:00:00Z", `
			p_p2026_03_28 FROM ('2026-03-27 23:00:00+00') TO ('2026-03-28 23:00:00+00')
			p_p2026_03_29 FROM ('2026-03-28 23:00:00+00') TO ('2026-03-29 22:00:00+00')
			p_p2026_03_30 FROM ('2026-03-29 22:00:00+00') TO ('2026-03-30 22:00:00+00')`,
		}, {
			"days of 23 and 25 hours: autumn, in the hour that comes twice", "timestamptz", "every => '1 day', premake => 1, time_zone => 'Europe/Berlin'", "2026-10-25 00:30:00Z", `
			p_p2026_10_25 FROM ('2026-10-24 22:00:00+00') TO ('2026-10-25 23:00:00+00')
			p_p2026_10_26 FROM ('2026-10-25 23:00:00+00') TO ('2026-10-26 23:00:00+00')`,
		}, {
			"a midnight that does not exist", "timestamptz", "every => '1 day', premake => 1, time_zone => 'America/Sao_Paulo'", "2018-11-03 12:00:00Z", `
			p_p2018_11_03 FROM ('2018-11-03 03:00:00+00') TO ('2018-11-04 03:00:00+00')
			p_p2018_11_04 FROM ('2018-11-04 03:00:00+00') TO ('2018-11-05 02:00:00+00')`,
		}, {
			"it is tomorrow already, there", "timestamp", "every => '1 day', premake => 0, time_zone => 'Pacific/Auckland'", "2026-11-21 12:00:00Z",
			`p_p2026_11_22 FROM ('2026-11-22 00:00:00') TO ('2026-11-23 00:00:00')`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, m := tended(t, "CREATE TABLE p (at "+tt.column+" NOT NULL) PARTITION BY RANGE (at)", tt.now, tt.policy)
			m.work(d)
			d.wantPartitions("p", lines(tt.want)...)
			before := d.text("SELECT string_agg(x::text, '|') FROM (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1) AS x")
			m.work(d)
			d.want(before, "SELECT string_agg(x::text, '|') FROM (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1) AS x")
			m.wantNone(t)
		})
	}
}

func lines(text string) []string {
	var all []string
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		all = append(all, strings.TrimSpace(line))
	}
	return all
}

func TestIntegersAreFollowedByValue(t *testing.T) {
	d, m := tended(t, "CREATE TABLE p (id bigint NOT NULL) PARTITION BY RANGE (id)", "", "every_n => 1000, premake => 1")
	m.work(d)
	d.wantPartitions("p", "p_p0 FROM ('0') TO ('1000')", "p_p1000 FROM ('1000') TO ('2000')")
	d.exec("INSERT INTO p VALUES (1), (999)")
	m.work(d)
	d.wantPartitions("p", "p_p0 FROM ('0') TO ('1000')", "p_p1000 FROM ('1000') TO ('2000')")
	d.exec("INSERT INTO p VALUES (1000)")
	m.work(d)
	d.wantPartitions("p", "p_p0 FROM ('0') TO ('1000')", "p_p1000 FROM ('1000') TO ('2000')", "p_p2000 FROM ('2000') TO ('3000')")
}

func TestIntegersExpireByTheGreatestThatIsThere(t *testing.T) {
	d, m := tended(t, "CREATE TABLE p (id integer NOT NULL) PARTITION BY RANGE (id)", "", "every_n => 10, premake => 2, keep_n => 10, on_expiry => 'drop', origin_n => -10")
	m.work(d)
	d.exec("INSERT INTO p VALUES (-10), (0), (8)")
	m.work(d)
	d.wantPartitions("p", "p_p0 FROM (0) TO (10)", "p_p10 FROM (10) TO (20)", "p_p20 FROM (20) TO (30)", "p_pm10 FROM ('-10') TO (0)")
	d.exec("INSERT INTO p VALUES (9)") // the ten kept are 0 to 9
	m.work(d)
	d.wantPartitions("p", "p_p0 FROM (0) TO (10)", "p_p10 FROM (10) TO (20)", "p_p20 FROM (20) TO (30)")
	d.want("0\n8\n9", "SELECT id::text FROM p ORDER BY id")
}

func TestASequenceThatRanAheadIsCaughtUpWithAndExpiresNothing(t *testing.T) {
	d, m := tended(t, "CREATE TABLE p (id bigint GENERATED ALWAYS AS IDENTITY, x int) PARTITION BY RANGE (id)", "", "every_n => 10, premake => 1, keep_n => 5, on_expiry => 'drop'")
	m.work(d)
	d.exec("INSERT INTO p (x) VALUES (1)")
	d.exec("SELECT setval('p_id_seq', 1005)")
	m.work(d)
	d.wantPartitions("p", "p_p0 FROM ('0') TO ('10')", "p_p10 FROM ('10') TO ('20')", "p_p1000 FROM ('1000') TO ('1010')",
		"p_p1010 FROM ('1010') TO ('1020')", "p_p990 FROM ('990') TO ('1000')")
	d.exec("INSERT INTO p (x) VALUES (2)")
	d.want("1\n1006", "SELECT id::text FROM p ORDER BY id")
}

func TestTheLastNumbersOfATypeHaveAPartition(t *testing.T) {
	d, m := tended(t, "CREATE TABLE p (id smallint NOT NULL) PARTITION BY RANGE (id)", "", "every_n => 1000, premake => 3, origin_n => 32000")
	m.work(d)
	d.wantPartitions("p", "p_p32000 FROM ('32000') TO (MAXVALUE)")
	d.exec("INSERT INTO p VALUES (32767)")
	m.work(d)
	d.wantPartitions("p", "p_p32000 FROM ('32000') TO (MAXVALUE)")
	m.wantNone(t)
}

func TestAfterALongTimeOffTheGapIsFilled(t *testing.T) {
	d, m := tended(t, "CREATE TABLE p (at timestamptz NOT NULL) PARTITION BY RANGE (at)", "2026-01-31 00:00:00Z", "every => '1 day', premake => 1, keep => '100 days', on_expiry => 'drop'")
	m.work(d)
	m.limits.batch = 7
	m.at(d, "2026-12-31 12:00:00Z")
	r, err := m.round(t.Context())
	check(t, err)
	// The first round makes what is needed now, the others the rest.
	if !r.more || !strings.Contains(d.partitions("p"), "p_p2027_01_01") || !strings.Contains(d.partitions("p"), "p_p2026_12_31") {
		t.Errorf("after the first round: %+v, %s", r, d.partitions("p"))
	}
	m.work(d)
	d.want("102 2026-09-22", "SELECT format('%s %s', count(*), replace(substr(min(inhrelid::regclass::text), 4), '_', '-')) FROM pg_inherits WHERE inhparent = 'p'::regclass")
}

func TestPartitionsMadeByHandAreWorkedAround(t *testing.T) {
	d, m := tended(t, `CREATE TABLE p (at date NOT NULL) PARTITION BY RANGE (at);
		CREATE TABLE old PARTITION OF p FOR VALUES FROM (MINVALUE) TO ('2026-10-10');
		CREATE TABLE mine PARTITION OF p FOR VALUES FROM ('2026-11-05') TO ('2026-11-20');
		CREATE TABLE far PARTITION OF p FOR VALUES FROM ('2027-01-15') TO (MAXVALUE)`, "2026-11-07 00:00:00Z", "every => '1 month', premake => 4, keep => '1 year', on_expiry => 'drop'")
	m.work(d)
	d.wantPartitions("p",
		"far FROM ('2027-01-15') TO (MAXVALUE)",
		"mine FROM ('2026-11-05') TO ('2026-11-20')",
		"old FROM (MINVALUE) TO ('2026-10-10')",
		"p_p2026_10_10 FROM ('2026-10-10') TO ('2026-11-01')",
		"p_p2026_11 FROM ('2026-11-01') TO ('2026-11-05')",
		"p_p2026_11_20 FROM ('2026-11-20') TO ('2026-12-01')",
		"p_p2026_12 FROM ('2026-12-01') TO ('2027-01-01')",
		"p_p2027_01 FROM ('2027-01-01') TO ('2027-01-15')")
}

func TestAPartitionIsLikeItsParent(t *testing.T) {
	d := newDatabase(t)
	d.role(`"Own Er"`, "")
	d.role("reader", "")
	d.exec(`CREATE SCHEMA "My Schema" AUTHORIZATION "Own Er"; GRANT USAGE ON SCHEMA "My Schema" TO reader`)
	d.exec(`SET ROLE "Own Er"; CREATE TABLE "My Schema".ref (id int PRIMARY KEY);
		CREATE TABLE "My Schema"."Ta""ble" ("At T" timestamptz NOT NULL DEFAULT '2026-11-21', id int REFERENCES "My Schema".ref, dropped int, twice int GENERATED ALWAYS AS (id * 2) STORED,
			note text COMPRESSION pglz CHECK (note <> ''), PRIMARY KEY ("At T", id)) PARTITION BY RANGE ("At T");
		ALTER TABLE "My Schema"."Ta""ble" DROP dropped, ALTER note SET STORAGE EXTERNAL;
		CREATE INDEX ON "My Schema"."Ta""ble" (lower(note));
		GRANT SELECT, INSERT ON "My Schema"."Ta""ble" TO reader WITH GRANT OPTION; GRANT UPDATE (note) ON "My Schema"."Ta""ble" TO PUBLIC;
		CREATE TABLE "My Schema".like_it PARTITION OF "My Schema"."Ta""ble" FOR VALUES FROM ('2001-01-01') TO ('2002-01-01'); RESET ROLE`)
	m := d.leader("").at(d, "2026-11-21 00:00:00Z")
	d.policy(`"My Schema"."Ta""ble"`, "every => '1 month', premake => 0, copy_grants => true")
	m.limits.batch = 1
	_, err := m.round(t.Context())
	check(t, err)
	m.wantNone(t)
	describe := func(table, key string) string {
		return strings.ReplaceAll(d.text(`
		SELECT format('%s %s %s %s %s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull, attgenerated, attstorage, attcompression, attacl IS NOT NULL AND $2 <> '', pg_get_expr(adbin, adrelid))
		FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped
		UNION ALL SELECT format('%s %s %s', contype, conislocal, pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid = $1::text::regclass
		UNION ALL SELECT regexp_replace(pg_get_indexdef(indexrelid), 'INDEX .* USING', '') FROM pg_index WHERE indrelid = $1::text::regclass
		UNION ALL SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = $1::text::regclass ORDER BY 1`, table, key), "c t ", "c f ")
	}
	if got, want := describe(`"My Schema"."Ta""ble_p2026_11"`, ""), describe(`"My Schema".like_it`, ""); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	d.want(d.text(`SELECT relacl::text FROM pg_class WHERE oid = '"My Schema"."Ta""ble"'::regclass`),
		`SELECT relacl::text FROM pg_class WHERE oid = '"My Schema"."Ta""ble_p2026_11"'::regclass`)
	d.want(`{"=w/\"Own Er\""}`, `SELECT attacl::text FROM pg_attribute WHERE attrelid = '"My Schema"."Ta""ble_p2026_11"'::regclass AND attname = 'note'`)
}

func TestLongNamesStayDifferent(t *testing.T) {
	d := newDatabase(t)
	name := strings.Repeat("ö", 31)
	d.exec("CREATE TABLE " + name + " (at date NOT NULL) PARTITION BY RANGE (at)")
	m := d.leader("").at(d, "2026-11-21 00:00:00Z")
	d.policy(name, "every => '1 day', premake => 1")
	m.work(d)
	cut := strings.Repeat("ö", 25)
	d.wantPartitions(name, cut+"_p2026_11_21 FROM ('2026-11-21') TO ('2026-11-22')", cut+"_p2026_11_22 FROM ('2026-11-22') TO ('2026-11-23')")
}
