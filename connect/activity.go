package connect

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/plugins"
)

// activityTracer reports what the session does: the statement while one runs,
// and otherwise whether a transaction is open. Mirrors the calls of
// pgstat_report_activity around a statement. It remembers which statement the
// last error of the server belongs to.
type activityTracer struct {
	report    func(state plugins.ActivityState, query string)
	statement string // that runs or ran last; the session's goroutine owns it
	failed    atomic.Pointer[failedStatement]
}

type failedStatement struct {
	err       *pgconn.PgError
	statement string
}

// statementOf returns the statement that err is about, or "" if it is not the
// last one that failed.
func (t *activityTracer) statementOf(err error) string {
	var server *pgconn.PgError
	if failed := t.failed.Load(); failed != nil && errors.As(err, &server) && server == failed.err {
		return failed.statement
	}
	return ""
}

// running reports the start of a statement.
func (t *activityTracer) running(statement string) {
	t.statement = statement
	t.report(plugins.StateRunning, statement)
}

// ended reports the end of a statement.
func (t *activityTracer) ended(c *pgx.Conn, err error) {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		t.failed.Store(&failedStatement{server, t.statement})
	}
	t.idle(c)
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
	t.running(data.SQL)
	return ctx
}

func (t *activityTracer) TraceQueryEnd(_ context.Context, c *pgx.Conn, data pgx.TraceQueryEndData) {
	t.ended(c, data.Err)
}

func (t *activityTracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	sql := "<batch>"
	if data.Batch != nil && len(data.Batch.QueuedQueries) > 0 {
		sql = data.Batch.QueuedQueries[0].SQL
	}
	t.running(sql)
	return ctx
}

func (t *activityTracer) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	t.running(data.SQL)
}

func (t *activityTracer) TraceBatchEnd(_ context.Context, c *pgx.Conn, data pgx.TraceBatchEndData) {
	t.ended(c, data.Err)
}

func (t *activityTracer) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceCopyFromStartData) context.Context {
	t.running("copy " + data.TableName.Sanitize() + " from stdin")
	return ctx
}

func (t *activityTracer) TraceCopyFromEnd(_ context.Context, c *pgx.Conn, data pgx.TraceCopyFromEndData) {
	t.ended(c, data.Err)
}
