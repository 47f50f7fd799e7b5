package connect

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/plugins"
)

// activityTracer reports what the session does: the statement while one runs,
// and otherwise whether a transaction is open. Mirrors the calls of
// pgstat_report_activity around a statement.
type activityTracer struct {
	report func(state plugins.ActivityState, query string)
}

var (
	_ pgx.QueryTracer    = (*activityTracer)(nil)
	_ pgx.BatchTracer    = (*activityTracer)(nil)
	_ pgx.CopyFromTracer = (*activityTracer)(nil)
)

// idle reports the state between two statements. The statement of before is
// left standing, as in pg_stat_activity.
func (t *activityTracer) idle(c *pgx.Conn) {
	state := plugins.StateIdle
	if !c.IsClosed() && c.PgConn().TxStatus() != 'I' {
		state = plugins.StateIdleInTransaction
	}
	t.report(state, "")
}

func (t *activityTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	t.report(plugins.StateRunning, data.SQL)
	return ctx
}

func (t *activityTracer) TraceQueryEnd(_ context.Context, c *pgx.Conn, _ pgx.TraceQueryEndData) {
	t.idle(c)
}

func (t *activityTracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	sql := "<batch>"
	if data.Batch != nil && len(data.Batch.QueuedQueries) > 0 {
		sql = data.Batch.QueuedQueries[0].SQL
	}
	t.report(plugins.StateRunning, sql)
	return ctx
}

func (t *activityTracer) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	t.report(plugins.StateRunning, data.SQL)
}

func (t *activityTracer) TraceBatchEnd(_ context.Context, c *pgx.Conn, _ pgx.TraceBatchEndData) {
	t.idle(c)
}

func (t *activityTracer) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceCopyFromStartData) context.Context {
	t.report(plugins.StateRunning, "copy "+data.TableName.Sanitize()+" from stdin")
	return ctx
}

func (t *activityTracer) TraceCopyFromEnd(_ context.Context, c *pgx.Conn, _ pgx.TraceCopyFromEndData) {
	t.idle(c)
}
