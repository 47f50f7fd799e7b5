package scanner

import (
	"strings"
	"testing"
)

// usual are the options of a usual session.
var usual = Options{StandardConformingStrings: true, ClientEncoding: "UTF8"}

// marked returns sql with every reference in guillemets, and its name too if it is
// written otherwise.
func marked(sql string) string {
	var out strings.Builder
	at := 0
	for _, s := range Scan(sql, usual) {
		for _, r := range s.References {
			out.WriteString(sql[at:r.Start] + "«" + sql[r.Start:r.End] + "»")
			if !strings.HasSuffix(strings.ToLower(sql[r.Start:r.End]), r.Name) {
				out.WriteString("=" + r.Name)
			}
			at = r.End
		}
	}
	return out.String() + sql[at:]
}

// wantMarked checks that exactly what is in guillemets is found.
func wantMarked(t *testing.T, lines string) {
	t.Helper()
	for want := range strings.Lines(lines) {
		if want = strings.TrimSpace(want); want == "" {
			continue
		}
		sql := strings.NewReplacer("«", "", "»", "").Replace(want)
		if got := marked(sql); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestARelationIsFoundWhereTheQueryReadsIt(t *testing.T) {
	wantMarked(t, `
		SELECT * FROM «pg_stat_activity»
		select * from «Pg_Stat_ACTIVITY» where pid = 1
		SELECT a.pid, pg_stat_activity.pid, pg_stat_activity.* FROM «pg_stat_activity»
		SELECT pg_stat_activity FROM «pg_stat_activity»
		SELECT 1 FROM «pg_catalog.pg_stat_activity»
		SELECT 1 FROM «PG_CATALOG /* a */ . -- b`+"\r"+` pg_wait_events» w
		SELECT 1 FROM a, «pg_stat_activity» b, ONLY «pg_wait_events» *
		SELECT 1 FROM a JOIN «pg_stat_activity» b ON a.x = b.pid AND a.y IN (1, 2), «pg_wait_events»
		SELECT 1 FROM a NATURAL LEFT OUTER JOIN «pg_stat_activity» CROSS JOIN (b JOIN «pg_wait_events» USING (type)) c
		SELECT 1 FROM ((«pg_stat_activity» a CROSS JOIN b) CROSS JOIN LATERAL (SELECT 1 FROM «pg_wait_events») c)
		SELECT 1 FROM ONLY («pg_stat_activity»)
		SELECT 1 FROM a JOIN b ON CASE WHEN x THEN y ELSE z END JOIN «pg_stat_activity» p ON true
		SELECT (SELECT count(*) FROM «pg_stat_activity») + extract(epoch FROM pg_stat_activity), a FROM b
		SELECT array(SELECT pid FROM «pg_stat_activity»), ARRAY[a, pg_stat_activity] FROM x
		SELECT 1 WHERE EXISTS (SELECT FROM «pg_stat_activity»)
		SELECT 1 FROM a UNION ALL (SELECT 2 FROM «pg_stat_activity») EXCEPT TABLE «pg_wait_events» ORDER BY 1
		(SELECT 1 FROM «pg_stat_activity») UNION SELECT 2, pg_stat_activity FROM «pg_wait_events»
		((SELECT 1 FROM «pg_stat_activity») LIMIT 1)
		TABLE «pg_stat_activity»
		table only «pg_stat_activity» order by pid, pg_wait_events
		VALUES ((SELECT pid FROM «pg_stat_activity»)), (2)
		WITH a AS (SELECT * FROM «pg_stat_activity»), b AS MATERIALIZED (TABLE «pg_wait_events») SELECT 1 FROM a, b
		WITH RECURSIVE a(x) AS (SELECT 1) SEARCH DEPTH FIRST BY x SET y SELECT * FROM a, «pg_stat_activity»
		WITH recursive AS (SELECT 1) SELECT 1 FROM recursive, «pg_stat_activity»
		WITH delete AS (SELECT 1), insert AS (SELECT 2) SELECT 1 FROM «pg_stat_activity»
		SELECT a IS DISTINCT FROM pg_stat_activity, a is not distinct from pg_stat_activity FROM «pg_stat_activity»
		SELECT DISTINCT ON (a) b distinct FROM «pg_stat_activity»
		SELECT x AS from, pg_stat_activity FROM «pg_stat_activity»
		SELECT x.from, pg_stat_activity FROM x FOR UPDATE OF pg_stat_activity
		SELECT 1 FROM ROWS FROM (f(1), g(2)) WITH ORDINALITY, «pg_stat_activity»
		SELECT 1 FROM «pg_stat_activity» TABLESAMPLE system (1) REPEATABLE (2) WHERE a FETCH FIRST ROW ONLY
		SELECT 1 FROM LATERAL (VALUES (1, pg_stat_activity), (2, 3)) x, «pg_stat_activity»
		SELECT * INTO TEMP TABLE pg_stat_activity FROM «pg_stat_activity»
		SELECT 1 FROM a WINDOW w AS (PARTITION BY b), pg_stat_activity AS (ORDER BY c)
		SELECT 1; SELECT 2 FROM «pg_stat_activity»; SELECT 3 FROM «pg_wait_events»;
	`)
}

func TestAFunctionIsFoundWhereItIsCalled(t *testing.T) {
	wantMarked(t, `
		SELECT «pg_terminate_backend»(pid), «pg_catalog . PG_Cancel_Backend» /* x */ (1)
		SELECT ALL «pg_reload_conf»()
		SELECT DISTINCT ON (pid) «pg_terminate_backend»(pid) FROM «pg_stat_activity»
		SELECT count(*) FILTER (WHERE «pg_terminate_backend»(pid)) FROM «pg_stat_activity» WHERE NOT «pg_cancel_backend»(pid)
		SELECT 1 FROM «pg_reload_conf»() WITH ORDINALITY, ROWS FROM («pg_reload_conf»(), «pg_cancel_backend»(1) AS (a int)) b
		SELECT 1 FROM a JOIN b ON «pg_cancel_backend»(1) CROSS JOIN LATERAL «pg_terminate_backend»(a.pid) AS c(d)
		SELECT 1 OPERATOR(pg_catalog.=) «pg_cancel_backend»(1)
		VALUES («pg_reload_conf»()), (1 + «pg_cancel_backend»(2))
		SELECT 1 FROM (VALUES (1), (1 + «pg_cancel_backend»(2))) a
		UPDATE a SET b = «pg_cancel_backend»(c), d = (SELECT pid FROM «pg_stat_activity») FROM «pg_wait_events» WHERE e RETURNING «pg_reload_conf»()
		SELECT pg_reload_conf, pg_cancel_backend.a, f(pg_reload_conf => 1) FROM pg_reload_conf, pg_cancel_backend.x
		SELECT a AS pg_reload_conf, b pg_cancel_backend, a.pg_reload_conf(1), x.pg_catalog.pg_reload_conf()
		SELECT 1 FROM a pg_cancel_backend(b), f() pg_cancel_backend(b), (SELECT 1) AS pg_cancel_backend(b)
		SELECT a::pg_cancel_backend(1), CAST(a AS pg_cancel_backend(1)) FROM t TABLESAMPLE pg_cancel_backend(1)
		WITH pg_cancel_backend(a) AS (SELECT 1), b AS (SELECT 2), pg_reload_conf (c) AS (SELECT «pg_reload_conf»()) SELECT «pg_cancel_backend»(1)
	`)
}

func TestStatementsThatChangeRowsAreSearched(t *testing.T) {
	wantMarked(t, `
		INSERT INTO t SELECT * FROM «pg_stat_activity»
		INSERT INTO t (pg_stat_activity) WITH a AS (TABLE «pg_stat_activity») SELECT 1 FROM a ON CONFLICT (pg_stat_activity) DO UPDATE SET a = 1, b = «pg_cancel_backend»(2)
		INSERT INTO pg_cancel_backend (a) VALUES («pg_cancel_backend»(1))
		INSERT INTO pg_stat_activity TABLE «pg_stat_activity»
		UPDATE pg_stat_activity SET pg_stat_activity = 1, pg_wait_events = 2 FROM a, «pg_stat_activity»
		DELETE FROM pg_stat_activity USING «pg_stat_activity» a JOIN b USING (pg_wait_events), «pg_wait_events» WHERE «pg_cancel_backend»(1)
		WITH x AS (SELECT 1) DELETE FROM ONLY t AS a USING («pg_stat_activity» CROSS JOIN b) WHERE a IN (SELECT b FROM «pg_wait_events»)
		WITH x AS (DELETE FROM t USING «pg_stat_activity» RETURNING *) TABLE x
		MERGE INTO t USING «pg_stat_activity» s ON t.a = s.pid WHEN NOT MATCHED AND x THEN INSERT (pg_wait_events, a) VALUES («pg_cancel_backend»(1), 2)
		MERGE INTO pg_stat_activity USING (SELECT 1 FROM «pg_stat_activity») s ON t.a = s.pid WHEN MATCHED THEN UPDATE SET a = 1, b = «pg_cancel_backend»(1)
	`)
}

func TestUtilityStatementsThatRunAQueryAreSearched(t *testing.T) {
	wantMarked(t, `
		EXPLAIN SELECT * FROM «pg_stat_activity»
		EXPLAIN ANALYZE VERBOSE SELECT * FROM «pg_stat_activity»
		EXPLAIN VERBOSE SELECT * FROM «pg_stat_activity»
		EXPLAIN (ANALYZE, FORMAT json, BUFFERS (a)) SELECT * FROM «pg_stat_activity»
		EXPLAIN (SELECT * FROM «pg_stat_activity»)
		EXPLAIN CREATE TABLE a AS SELECT * FROM «pg_stat_activity»
		PREPARE pg_stat_activity AS SELECT * FROM «pg_stat_activity»
		PREPARE pg_cancel_backend (int, text) AS SELECT «pg_cancel_backend»($1)
		EXECUTE pg_cancel_backend(«pg_cancel_backend»(1))
		DECLARE pg_stat_activity BINARY NO SCROLL CURSOR WITH HOLD FOR SELECT * FROM «pg_stat_activity» FOR UPDATE
		COPY (SELECT * FROM «pg_stat_activity») TO STDOUT WITH (FORMAT csv)
		COPY BINARY «pg_stat_activity» TO '/dev/null'
		COPY «pg_catalog.pg_stat_activity» (pid, datid) TO STDOUT
		CALL pg_cancel_backend(«pg_cancel_backend»(1))
		CALL a.pg_cancel_backend(1, (SELECT pid FROM «pg_stat_activity»))
		CREATE TABLE pg_stat_activity AS SELECT * FROM «pg_stat_activity»
		CREATE TEMP TABLE IF NOT EXISTS a (pg_cancel_backend) USING heap WITH (x = 1) ON COMMIT DROP TABLESPACE b AS TABLE «pg_stat_activity» WITH NO DATA
		CREATE GLOBAL TEMPORARY TABLE a AS (SELECT «pg_reload_conf»())
		CREATE UNLOGGED TABLE a AS EXECUTE pg_cancel_backend(«pg_cancel_backend»(1))
	`)
}

func TestWhatStoresItsTextIsLeftAlone(t *testing.T) {
	wantMarked(t, `
		EXPLAIN CREATE MATERIALIZED VIEW a AS SELECT * FROM pg_stat_activity
		CREATE MATERIALIZED VIEW a AS SELECT * FROM pg_stat_activity
		CREATE OR REPLACE TEMP VIEW a AS SELECT * FROM pg_stat_activity
		CREATE FUNCTION f() RETURNS bool RETURN pg_reload_conf()
		CREATE FUNCTION f() RETURNS bool BEGIN ATOMIC SELECT pg_reload_conf(); SELECT 1 FROM pg_stat_activity; END
		CREATE RULE r AS ON INSERT TO t DO (SELECT pg_reload_conf(); SELECT 1 FROM pg_stat_activity)
		CREATE POLICY p ON t USING (pg_reload_conf())
		CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW WHEN (pg_reload_conf()) EXECUTE FUNCTION f()
		CREATE TABLE a (b bool DEFAULT pg_reload_conf(), LIKE pg_stat_activity, c int GENERATED ALWAYS AS (pg_cancel_backend(1)) STORED)
		CREATE SCHEMA a CREATE VIEW b AS SELECT * FROM pg_stat_activity
		CREATE INDEX ON t (pg_reload_conf())
		ALTER TABLE a ALTER b SET DEFAULT pg_reload_conf()
		GRANT SELECT ON pg_stat_activity TO a
		REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM PUBLIC
		DROP VIEW pg_stat_activity
		DROP FUNCTION pg_reload_conf()
		COMMENT ON VIEW pg_stat_activity IS 'a'
		ANALYZE pg_stat_activity
		COPY pg_stat_activity FROM STDIN
		COPY pg_stat_activity (pid) FROM PROGRAM 'x' WHERE pg_reload_conf()
		COPY pg_stat_activity.a TO STDOUT
		DO $$ BEGIN PERFORM pg_reload_conf(); END $$
	`)
}

func TestOtherThingsOfTheSameNameAreLeftAlone(t *testing.T) {
	wantMarked(t, `
		SELECT 1 FROM "pg_stat_activity", x.pg_stat_activity, pg_stat_activity.a.b, pg_stat_activity.a, "pg_catalog".pg_stat_activity
		SELECT 1 FROM x.pg_catalog.pg_stat_activity, pg_catalog."pg_stat_activity", U&"pg_stat_activity", pg_catalog.pg_stat_activity.x
		SELECT 'FROM pg_stat_activity', $$ FROM pg_stat_activity $$, E'\' FROM pg_stat_activity' -- FROM pg_stat_activity
		SELECT /* FROM pg_stat_activity, /* pg_reload_conf() */ pg_reload_conf() */ 1
		SELECT 1 FROM pg_stat_activity_x, xpg_stat_activity, pg_stat_activity$, pg_stat_activityü
		SELECT 1 FROM pg_stat_activity(1)
		SELECT 1 FROM t pg_stat_activity
		SELECT 1 FROM t AS pg_stat_activity ORDER BY pg_stat_activity
		SELECT pg_stat_activity.pid FROM (SELECT * FROM «pg_stat_activity») pg_stat_activity
		WITH pg_stat_activity AS (SELECT 1) SELECT * FROM pg_stat_activity, «pg_wait_events»
		WITH a AS (SELECT 1), "pg_stat_activity" (a) AS (SELECT 1) SELECT * FROM pg_stat_activity
		WITH U&"pg!005fstat_activity" UESCAPE '!' AS (SELECT 1) SELECT * FROM pg_stat_activity
		SELECT 1 FROM pg_stat_activity WHERE EXISTS (WITH RECURSIVE pg_stat_activity AS (SELECT 1) SELECT 1)
		WITH pg_stat_activity AS (SELECT * FROM «pg_catalog.pg_stat_activity») SELECT * FROM pg_stat_activity
		SELECT null::pg_stat_activity, CAST(a AS pg_catalog.pg_stat_activity), 'pg_stat_activity'::regclass
	`)
}

func TestAColumnWithItsSchemaFollowsItsRelation(t *testing.T) {
	wantMarked(t, `
		SELECT «pg_catalog.pg_stat_activity».pid FROM «pg_catalog.pg_stat_activity»
		SELECT «pg_catalog.pg_stat_activity».* FROM «pg_stat_activity» WHERE «pg_catalog.pg_stat_activity».pid = 1
		SELECT pg_catalog.pg_stat_activity.pid FROM "pg_stat_activity"
		DELETE FROM pg_stat_activity WHERE pg_catalog.pg_stat_activity.pid = 1
		WITH pg_stat_activity AS (SELECT 1) SELECT pg_catalog.pg_stat_activity.pid FROM pg_stat_activity
	`)
}

func TestWhatIsNotWholeIsLeftAlone(t *testing.T) {
	wantMarked(t, `
		SELECT * FROM pg_stat_activity WHERE a = 'x
		SELECT * FROM pg_stat_activity WHERE a = "x
		SELECT * FROM pg_stat_activity WHERE a = $a$x$$
		SELECT * FROM pg_stat_activity /* /* */
		SELECT * FROM pg_stat_activity WHERE (a
		SELECT * FROM pg_stat_activity WHERE a)
		SELECT * FROM pg_stat_activity WHERE a[1
		SELECT * FROM «pg_stat_activity»; LOAD 'x
	`)
}
