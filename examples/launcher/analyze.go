package launcher

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

var workerWait = plugins.ExtensionWait("AnalyzerMain")

// analyzer is the process of one database.
type analyzer struct {
	*library
	worker *plugins.Worker
	conn   *connect.Conn
	tried  map[uint32]time.Time // tables, by OID, whatever came of it
}

// table is a table that is to be analyzed.
type table struct {
	oid  uint32
	name string // quoted and qualified
}

// dueSQL returns the tables that autovacuum does not look after, or one of them
// if it is still due:
//
//   - those that nobody has analyzed so far, such as restored ones that nobody
//     writes to, and partitioned ones;
//   - partitioned ones with a partition that autovacuum has analyzed since:
//     enough of its rows have changed then.
//
// It locks no table, as pg_relation_size or pg_partition_tree would. Partitioned
// tables come first, since their partitions are analyzed with them.
const dueSQL = `SELECT c.oid, format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)) AS at) AS analyzed
WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'
	AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND pg_has_role(c.relowner, 'USAGE')
	AND ($1 = 0::oid OR c.oid = $1)
	AND (analyzed.at IS NULL
			AND NOT EXISTS (SELECT FROM pg_stats s WHERE s.schemaname = n.nspname AND s.tablename = c.relname)
		OR c.relkind = 'p' AND EXISTS (
			WITH RECURSIVE part AS (
				SELECT inhrelid FROM pg_inherits WHERE inhparent = c.oid
				UNION ALL
				SELECT i.inhrelid FROM pg_inherits i JOIN part ON i.inhparent = part.inhrelid
			)
			SELECT FROM part WHERE pg_stat_get_last_autoanalyze_time(inhrelid) > coalesce(analyzed.at, '-infinity')))
ORDER BY c.relkind <> 'p', c.relispartition, c.oid`

// workerMain is analyzer_worker_main, the main function of each database's
// worker.
func (l *library) workerMain(ctx context.Context, w *plugins.Worker) error {
	if err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload); err != nil {
		return err
	}
	// As autovacuum does: no object of anybody's is found by accident.
	conn, err := connect.InitializeConnectionByOID(ctx, w, uint32(w.Entry().MainArg), 0, 0,
		connect.WithSetting("search_path", ""), connect.WithSetting("lock_timeout", "5s"),
		connect.WithSetting("default_transaction_isolation", "read committed"))
	if err != nil {
		return err
	}
	a := &analyzer{library: l, worker: w, conn: conn, tried: make(map[uint32]time.Time)}
	for {
		if err := a.round(ctx); err != nil {
			return err
		}
		if err := l.nap(ctx, w, workerWait); err != nil {
			return err
		}
	}
}

// round analyzes what is due.
func (a *analyzer) round(ctx context.Context) error {
	tables, err := a.due(ctx, 0)
	if err != nil {
		return err
	}
	if _, err := a.conn.Exec(ctx, "SELECT set_config('vacuum_cost_delay', $1, false)", strconv.FormatInt(a.costDelay().Milliseconds(), 10)); err != nil {
		return err
	}
	for _, t := range tables {
		if at, ok := a.tried[t.oid]; ok && time.Since(at) < a.minInterval() {
			continue
		}
		still, err := a.due(ctx, t.oid) // or it was analyzed meanwhile, with its parent
		if err != nil {
			return err
		}
		for _, t := range still {
			if err := a.analyze(ctx, t); err != nil {
				return err
			}
		}
	}
	a.forget()
	return nil
}

// due returns the tables that are due, or the one with that OID, if it is.
func (a *analyzer) due(ctx context.Context, oid uint32) ([]table, error) {
	rows, err := a.conn.Query(ctx, dueSQL, oid)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t table, err error) {
		err = row.Scan(&t.oid, &t.name)
		return t, err
	})
}

// analyze analyzes one table. What is wrong with that one does not keep the
// others from being analyzed.
func (a *analyzer) analyze(ctx context.Context, t table) error {
	a.tried[t.oid] = time.Now()
	begin := time.Now()
	_, err := a.conn.Exec(ctx, "ANALYZE (SKIP_LOCKED) "+t.name)
	switch {
	case err == nil:
		a.worker.Logf(elog.Debug1, "analyzed %s of database \"%s\" in %s", t.name, a.conn.Database(), time.Since(begin).Round(time.Millisecond))
		return nil
	case ctx.Err() != nil || a.conn.IsClosed():
		return err
	}
	report := *connect.AsErrorData(err, elog.Warning)
	report.Message = "could not analyze " + t.name + " of database \"" + a.conn.Database() + "\": " + report.Message
	a.worker.Ereport(&report)
	return nil
}

// forget drops what does not matter any more, such as tables that are gone.
func (a *analyzer) forget() {
	for oid, at := range a.tried {
		if time.Since(at) >= a.minInterval() {
			delete(a.tried, oid)
		}
	}
}
