package main

import (
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestAnOwnerNeedsNoMoreRights(t *testing.T) {
	d := newDatabase(t)
	d.role("team", "")
	d.role("stranger", "")
	d.role("keeper", "LOGIN IN ROLE team")
	d.exec(`CREATE SCHEMA archive AUTHORIZATION keeper; CREATE SCHEMA app; GRANT USAGE, CREATE ON SCHEMA app TO keeper, team, stranger`)
	d.exec("GRANT CREATE ON DATABASE " + d.name + " TO keeper")
	for _, owner := range []string{"keeper", "team", "stranger"} {
		d.exec(`SET ROLE ` + owner + `; CREATE TABLE app.` + owner + ` (at date NOT NULL) PARTITION BY RANGE (at);
			CREATE TABLE app.` + owner + `_old PARTITION OF app.` + owner + ` FOR VALUES FROM ('2025-01-01') TO ('2025-02-01'); RESET ROLE`)
	}
	m := d.leader("keeper").at(d, "2026-11-21 00:00:00Z")
	d.policy("app.keeper", "every => '1 month', premake => 0, keep => '1 month', on_expiry => 'move', archive_schema => 'archive'")
	d.policy("app.team", "every => '1 month', premake => 0, keep => '1 month', on_expiry => 'drop'")
	d.policy("app.stranger", "every => '1 month', premake => 0, keep => '1 month', on_expiry => 'drop'")
	m.work(d)
	d.want("app.keeper_p2026_10 keeper\napp.keeper_p2026_11 keeper\napp.stranger_old stranger\napp.team_p2026_10 team\napp.team_p2026_11 team\narchive.keeper_old keeper",
		`SELECT format('%s.%s %s', relnamespace::regnamespace, relname, relowner::regrole) FROM pg_class
			WHERE relkind = 'r' AND relname ~ '^(keeper|team|stranger)' AND relname ~ '(_old|2026_1[01])$' ORDER BY 1`)
	m.wantProblem(t, `permission denied to set role "stranger"`)
}

// Whoever can put a trigger on a table of the schema would have what the worker
// does run code of his.
func TestASchemaOfAnotherRoleIsNotTouched(t *testing.T) {
	for name, sql := range map[string]string{
		"the schema": "CREATE SCHEMA retention AUTHORIZATION lesser",
		"a table":    "CREATE SCHEMA retention; CREATE TABLE retention.version (version int); ALTER TABLE retention.version OWNER TO lesser",
	} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t)
			d.role("lesser", "")
			d.exec(sql)
			if leads, err := d.manager("").lead(t.Context()); elog.CodeOf(err) != elog.InsufficientPrivilege || leads {
				t.Errorf("got %v, %v", leads, err)
			}
		})
	}
}

func TestAFutureSchemaIsNotTouched(t *testing.T) {
	d := newDatabase(t)
	d.leader("").conn.HangUp(t.Context())
	d.exec("INSERT INTO retention.version VALUES (1000)")
	m := d.manager("")
	d.await("the lock to be free", func() bool {
		_, err := m.lead(t.Context())
		return elog.CodeOf(err) == elog.ObjectNotInPrerequisite
	})
}

func TestTheSchemaIsMadeOnce(t *testing.T) {
	d := newDatabase(t)
	d.leader("").conn.HangUp(t.Context())
	d.leader("")
	d.want("1", "SELECT string_agg(version::text, ',') FROM retention.version")
}

func TestPoliciesThatMakeNoSenseAreRefused(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE p (at date) PARTITION BY RANGE (at)")
	d.leader("")
	for _, columns := range []string{
		"mode => 'on'",
		"every => '1 day', every_n => 1",
		"every => '0'",
		"every => '-1 day'",
		"every => '1 month 1 day'",
		"every => '1 month', origin => '2001-01-31'",
		"every => '1 hour', time_zone => 'Europe/Berlin'",
		"every => '1 day', time_zone => 'Europe/Atlantis'",
		"every => '1 day', keep_n => 5",
		"every => '1 day', keep => '-1 day'",
		"every_n => 5, keep => '1 day'",
		"every_n => 0",
		"every => '1 day', on_expiry => 'burn'",
		"every => '1 day', on_expiry => 'move'",
		"every => '1 day', naming => 'always_the_same'",
		"every => '1 day', premake => -1",
	} {
		if _, err := d.Exec(t.Context(), insertPolicy("p", columns)); err == nil {
			t.Errorf("%s was accepted", columns)
			d.exec("DELETE FROM retention.policy")
		}
	}
	d.policy("p", "every => '1 day', time_zone => 'Europe/Berlin'")
}

func TestTablesThatDoNotFitAreReportedAndHurtNoOther(t *testing.T) {
	for _, tt := range []struct{ table, policy, want string }{
		{"bad (at date)", "every => '1 day'", "is not a partitioned table"},
		{"bad (at date) PARTITION BY LIST (at)", "every => '1 day'", "is not partitioned by range of one column"},
		{"bad (at date, b int) PARTITION BY RANGE (at, b)", "every => '1 day'", "is not partitioned by range of one column"},
		{"bad (at date) PARTITION BY RANGE ((at + 1))", "every => '1 day'", "is not partitioned by range of one column"},
		{"bad (t text) PARTITION BY RANGE (t)", "every => '1 day'", "partition key of table \"public.bad\" has type text"},
		{"bad (id int) PARTITION BY RANGE (id)", "every => '1 day'", "does not fit the type integer"},
		{"bad (at date) PARTITION BY RANGE (at)", "every_n => 1", "does not fit the type date"},
		{"bad (at date) PARTITION BY RANGE (at)", "every => '12 hours'", "must last whole days"},
		{"bad (at date) PARTITION BY RANGE (at); CREATE TABLE bad_p2026_11_21 ()", "every => '1 day'", "relation \"bad_p2026_11_21\" already exists"},
		{"bad (at date) PARTITION BY RANGE (at); ALTER TABLE bad ENABLE ROW LEVEL SECURITY", "every => '1 day', copy_grants => true", "grants of table \"public.bad\" are not copied"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			d := newDatabase(t)
			d.exec("CREATE TABLE " + tt.table + "; CREATE TABLE good (at date) PARTITION BY RANGE (at)")
			m := d.leader("").at(d, "2026-11-21 00:00:00Z")
			d.policy("bad", tt.policy)
			d.policy("good", "every => '1 day', premake => 0")
			m.work(d)
			m.wantProblem(t, tt.want)
			d.wantPartitions("good", "good_p2026_11_21 FROM ('2026-11-21') TO ('2026-11-22')")
			d.want("bad", "SELECT parent::text FROM retention.health WHERE problem IS NOT NULL")
			d.exec("DROP TABLE bad")
			m.work(d)
			d.want("table of a policy does not exist", "SELECT problem FROM retention.health WHERE problem IS NOT NULL")
		})
	}
}

func TestADryRunSaysWhatItWouldDoAndDoesNothing(t *testing.T) {
	d := newDatabase(t)
	d.exec(monthly)
	m := d.leader("").at(d, "2026-12-01 00:00:00Z")
	m.log()
	d.policy("p", "every => '1 month', premake => 1, keep => '2 months', on_expiry => 'drop', mode => 'dry_run'")
	for range 2 { // the second time it is no news
		m.work(d)
		d.wantWhere("public.p_p2026_09 attached", "public.p_p2026_10 attached", "public.p_p2026_11 attached", "public.p_p2026_12 attached")
	}
	want := []string{
		`create partition "public.p_p2027_01" FOR VALUES FROM ('2027-01-01 00:00:00+00') TO ('2027-02-01 00:00:00+00')`,
		`retire partition "public.p_p2026_09": drop`,
	}
	if got := m.log(); got != "LOG:  retention: dry run: would "+strings.Join(want, "\nLOG:  retention: dry run: would ") {
		t.Errorf("got %s", got)
	}
	d.want(strings.Join(want, "\n"), "SELECT unnest(planned) FROM retention.health")
	d.want("0", "SELECT (SELECT count(*) FROM retention.log) + (SELECT count(*) FROM retention.retiring) || ''")
	d.exec("UPDATE retention.policy SET mode = 'on'")
	m.work(d)
	d.wantWhere("public.p_p2026_10 attached", "public.p_p2026_11 attached", "public.p_p2026_12 attached", "public.p_p2027_01 attached")
	d.want("0", "SELECT cardinality(planned)::text FROM retention.health")
}

func TestAPolicyThatIsOffIsOff(t *testing.T) {
	d, m := tended(t, monthly, "2027-12-01 00:00:00Z", "every => '1 month', keep => '1 month', on_expiry => 'drop', mode => 'off'")
	m.work(d)
	d.wantWhere("public.p_p2026_09 attached", "public.p_p2026_10 attached", "public.p_p2026_11 attached", "public.p_p2026_12 attached")
}

func TestTheLogForgets(t *testing.T) {
	d := newDatabase(t)
	m := d.leader("")
	d.exec("INSERT INTO retention.log (at, parent, action) VALUES (now() - interval '61 minutes', 'p', 'old'), (now(), 'p', 'new')")
	m.work(d)
	d.want("new", "SELECT action FROM retention.log")
}
