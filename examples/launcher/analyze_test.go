package launcher

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

// awaitAnalyzed waits until a table of a database has statistics.
func (b *bench) awaitAnalyzed(database, table string) {
	b.t.Helper()
	b.eventually(table+" to be analyzed", func() bool {
		return b.query(database, "SELECT count(*) > 0 FROM pg_stats WHERE tablename = '"+table+"'") == "true"
	})
}

// awaitNextRound waits until the analyzer of a database has gone round again.
func (b *bench) awaitNextRound(database string) {
	b.t.Helper()
	b.exec(database, "CREATE TABLE later "+untouched+" AS SELECT generate_series(1, 100) AS n")
	b.awaitAnalyzed(database, "later")
}

// untouched is the storage parameter that keeps autovacuum out of a test.
const untouched = "WITH (autovacuum_enabled = off)"

func TestTablesWithoutStatisticsAreAnalyzed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("app")
	b.exec("app", "CREATE TABLE empty (n int) "+untouched)
	b.exec("app", "CREATE TABLE done (n int) "+untouched)
	b.exec("app", "INSERT INTO done SELECT generate_series(1, 100)")
	b.exec("app", "ANALYZE done")
	b.exec("app", `CREATE TABLE "Restored ""table""" (n int PRIMARY KEY) `+untouched) // an index sets reltuples
	b.exec("app", `INSERT INTO "Restored ""table""" SELECT generate_series(1, 100)`)
	b.exec("app", "CREATE MATERIALIZED VIEW matview "+untouched+" AS SELECT generate_series(1, 100) AS n")
	b.start("analyzer.min_interval=0")
	b.awaitAnalyzed("app", `Restored "table"`)
	b.awaitAnalyzed("app", "matview")
	b.awaitNextRound("app")
	if n := b.countLog(`analyzed public\.(empty|done|".*"|matview) `); n != 3 { // the empty one, too: its end is that it was analyzed
		t.Errorf("%d tables were analyzed", n)
	}
}

func TestAPartitionedTableIsAnalyzedWheneverAutovacuumHasAnalyzedAPartition(t *testing.T) {
	t.Parallel()
	b := newBenchOn(t, pluginstest.NewCluster(t, "autovacuum_naptime=1s").Postgres)
	b.create("app")
	b.exec("app", "CREATE TABLE parent (n int) PARTITION BY RANGE (n)")
	b.exec("app", "CREATE TABLE low PARTITION OF parent FOR VALUES FROM (0) TO (1000) "+untouched)
	b.exec("app", "CREATE TABLE middle PARTITION OF parent FOR VALUES FROM (1000) TO (3000) PARTITION BY RANGE (n)")
	b.exec("app", "CREATE TABLE high PARTITION OF middle FOR VALUES FROM (1000) TO (3000) "+untouched)
	b.exec("app", "INSERT INTO parent SELECT generate_series(0, 1999)")
	b.start("analyzer.min_interval=0")
	b.awaitAnalyzed("app", "parent")
	b.awaitAnalyzed("app", "middle")
	if n := b.countLog(`analyzed public\.(low|high|middle) `); n != 0 {
		t.Errorf("%d were analyzed once more than with their parent", n)
	}
	before := b.countLog(`analyzed public\.parent `)
	b.exec("app", "INSERT INTO parent SELECT 2500 FROM generate_series(1, 10000)")
	b.exec("app", "ALTER TABLE high RESET (autovacuum_enabled)")
	b.host.AwaitLogs(t, "analyzed public.parent ", before+1)
	b.eventually("statistics of the new rows", func() bool {
		return b.query("app", "SELECT '2500' = ANY (most_common_vals::text::text[]) FROM pg_stats WHERE tablename = 'parent' AND inherited") == "true"
	})
}

func TestATableThatIsLockedKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("app")
	b.exec("app", "CREATE TABLE locked "+untouched+" AS SELECT generate_series(1, 100) AS n")
	b.exec("app", "CREATE TABLE other "+untouched+" AS SELECT generate_series(1, 100) AS n")
	ctx := t.Context()
	conn := b.connect(ctx, "app")
	defer conn.Close(context.Background())
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "LOCK TABLE locked IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		b.start("analyzer.min_interval=0")
		b.eventually("the other table", func() bool {
			return b.query("app", "SELECT pg_stat_get_last_analyze_time('other'::regclass) IS NOT NULL") == "true"
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.awaitAnalyzed("app", "locked")
	if b.countLog("could not analyze") != 0 {
		t.Error("it was waited for, as long as lock_timeout allows")
	}
}

func TestATableThatCannotBeAnalyzedIsReportedOnceAnInterval(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("app")
	b.exec("app", "CREATE TABLE a_bad (n int) "+untouched)
	b.exec("app", "CREATE FUNCTION broken(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN IF current_setting(''application_name'') LIKE ''analyzer of %'' THEN RAISE ''no way''; END IF; RETURN $1; END'")
	b.exec("app", "CREATE INDEX ON a_bad (broken(n))")
	b.exec("app", "INSERT INTO a_bad SELECT generate_series(1, 100)")
	b.exec("app", "CREATE TABLE good "+untouched+" AS SELECT generate_series(1, 100) AS n")
	b.start()
	b.awaitAnalyzed("app", "good")
	b.awaitNextRound("app")
	warning := "WARNING:  could not analyze public.a_bad of database \"" + b.prefix + "app\": no way"
	b.host.AwaitLog(t, warning)
	if n := b.countLog(warning); n != 1 {
		t.Errorf("it was reported %d times", n)
	}
}
