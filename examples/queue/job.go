package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// releaseLimit bounds the release of jobs by a worker that has to go, which
// leaves it five seconds in all.
const releaseLimit = 2 * time.Second

// longestError is how much of an error's text is kept, in bytes.
const longestError = 8 << 10

// errLostClaim says that a job is somebody else's by now: claim_timeout was
// over before its turn came, or a person has deleted it.
var errLostClaim = errors.New("the claim has been lost")

// claimSQL claims the jobs that have been due for longest: the first ones up to
// one that has been tried before, or that one alone. Nobody else takes them
// before run_at, nor afterwards if their rows are locked then.
const claimSQL = `WITH due AS MATERIALIZED (
	SELECT id, run_at, attempts FROM queue.job WHERE run_at <= now()
	ORDER BY run_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
), ranked AS (
	SELECT id, run_at, row_number() OVER sofar AS rank, bool_or(attempts > 0) OVER sofar AS tried
	FROM due WINDOW sofar AS (ORDER BY run_at, id)
), claimed AS (
	UPDATE queue.job SET attempts = attempts + 1, run_at = now() + $2::interval, claimed_by = $3, claimed_at = now()
	FROM ranked WHERE job.id = ranked.id AND (rank = 1 OR NOT tried)
	RETURNING rank, job.id, kind, payload, attempts, max_attempts, enqueued_at
)
SELECT id, kind, payload, attempts, max_attempts, enqueued_at FROM claimed ORDER BY rank`

// claim commits that this worker is going to do some jobs, and returns them.
func (c *consumer) claim(ctx context.Context) ([]Job, error) {
	rows, err := c.conn.Query(ctx, claimSQL, c.batch, c.claimTimeout(), c.name)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (j Job, err error) {
		err = row.Scan(&j.ID, &j.Kind, &j.Payload, &j.Attempt, &j.MaxAttempts, &j.EnqueuedAt)
		return j, err
	})
}

// doAll does the jobs of a claim, one after the other. If the worker has to go
// it gives back those that are left.
func (c *consumer) doAll(ctx context.Context, jobs []Job) error {
	for i, job := range jobs {
		if c.worker.ShutdownRequestPending() {
			return c.release(ctx, jobs[i:])
		}
		if err := c.do(ctx, job); err != nil {
			if !c.conn.IsClosed() {
				_ = c.release(ctx, jobs[i:]) // or claim_timeout does it
			}
			return err
		}
	}
	return nil
}

// do makes one attempt at a job. An error of the job is recorded with it; one
// that is returned is the worker's.
func (c *consumer) do(ctx context.Context, job Job) error {
	if made := job.Attempt - 1; made >= job.MaxAttempts { // otherwise the last one would have buried it
		return c.bury(ctx, job, made, elog.New(elog.Error, elog.InternalError, "the worker died during attempt %d", made))
	}
	err := c.attempt(ctx, job)
	switch {
	case err == nil, errors.Is(err, errLostClaim):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case c.conn.IsClosed():
		return err
	}
	var permanent *permanentError
	if job.Attempt >= job.MaxAttempts || errors.As(err, &permanent) {
		return c.bury(ctx, job, job.Attempt, err)
	}
	return c.putOff(ctx, job, err)
}

// lockSQL makes the job this transaction's, if it is still as it was claimed,
// and shows in pg_stat_activity which job that is, as long as the transaction
// lasts. It does not skip a locked row: a claim that began before this one's
// commit locks the new version of the row, finds that it is not due any more,
// and keeps the lock to its end, which is near.
const lockSQL = `SELECT set_config('application_name', $3, true) FROM queue.job
WHERE id = $1 AND attempts = $2 FOR UPDATE`

// attempt runs the handler and deletes the job, in one transaction.
func (c *consumer) attempt(ctx context.Context, job Job) error {
	if limit := c.jobTimeout(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, elog.New(elog.Error, elog.QueryCanceled,
			"the job has taken longer than \"queue.job_timeout\" (%s)", limit))
		defer cancel()
	}
	title := fmt.Sprintf("%s: job %d, %s", c.name, job.ID, job.Kind)
	err := c.conn.InTransaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, lockSQL, job.ID, job.Attempt, title)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return errLostClaim
		}
		if err := run(ctx, c.handlerOf(job.Kind), tx, job); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM queue.job WHERE id = $1", job.ID)
		return err
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx) // why the statement was cancelled
	}
	return err
}

// run runs a handler. A panic is an error of the job, not of the worker.
func run(ctx context.Context, handler Handler, tx pgx.Tx, job Job) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = elog.New(elog.Error, elog.InternalError, "panic: %v", cause).WithDetail("%s", debug.Stack())
		}
	}()
	return handler(ctx, tx, job)
}

// putOff records that an attempt has failed, and when the next one is due.
func (c *consumer) putOff(ctx context.Context, job Job, cause error) error {
	pause := backoff(job.Attempt, c.retryDelay(), c.retryDelayMax())
	_, err := c.conn.Exec(ctx, `UPDATE queue.job
		SET run_at = now() + $3::interval, last_error = $4, claimed_by = NULL, claimed_at = NULL
		WHERE id = $1 AND attempts = $2`, job.ID, job.Attempt, pause, errorText(cause))
	if err == nil {
		c.report(cause, elog.Log, "job %d of kind \"%s\" has failed on attempt %d of %d and is tried again in %s",
			job.ID, job.Kind, job.Attempt, job.MaxAttempts, pause.Round(time.Millisecond))
	}
	return err
}

// bury makes the job a dead letter, after so many attempts.
func (c *consumer) bury(ctx context.Context, job Job, made int, cause error) error {
	_, err := c.conn.Exec(ctx, `WITH gone AS (DELETE FROM queue.job WHERE id = $1 AND attempts = $2 RETURNING *)
		INSERT INTO queue.dead (id, kind, payload, attempts, max_attempts, enqueued_at, last_error)
		SELECT id, kind, payload, $3, max_attempts, enqueued_at, $4 FROM gone`, job.ID, job.Attempt, made, errorText(cause))
	if err == nil {
		c.report(cause, elog.Warning, "job %d of kind \"%s\" has failed on attempt %d of %d and is a dead letter",
			job.ID, job.Kind, made, job.MaxAttempts)
	}
	return err
}

// release gives jobs back that were claimed and not done: they are due at once,
// and the attempt does not count. Ctx may have ended.
func (c *consumer) release(ctx context.Context, jobs []Job) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseLimit)
	defer cancel()
	ids, attempts := make([]int64, len(jobs)), make([]int, len(jobs))
	for i, job := range jobs {
		ids[i], attempts[i] = job.ID, job.Attempt
	}
	_, err := c.conn.Exec(ctx, `UPDATE queue.job
		SET attempts = attempts - 1, run_at = now(), claimed_by = NULL, claimed_at = NULL
		WHERE (id, attempts) IN (SELECT * FROM unnest($1::bigint[], $2::integer[]))`, ids, attempts)
	if err != nil {
		return err
	}
	_, err = c.conn.Exec(ctx, "NOTIFY "+channel)
	return err
}

// report logs what has become of a job, with the SQLSTATE of the cause.
func (c *consumer) report(cause error, level elog.Level, format string, args ...any) {
	e := connect.AsErrorData(cause, level)
	report := elog.New(level, e.Code, format, args...).WithDetail("%s", errorText(cause))
	report.Hint, report.Context = e.Hint, e.Context
	c.worker.Ereport(report)
}

// errorText is an error as last_error keeps it.
func errorText(err error) string {
	e := connect.AsErrorData(err, elog.Error)
	text := fmt.Sprintf("%s (SQLSTATE %s)", e.Message, e.Code)
	for _, more := range []string{e.Detail, e.Context} {
		if more != "" {
			text += "\n" + more
		}
	}
	text = strings.ReplaceAll(text[:min(len(text), longestError)], "\x00", "")
	return strings.ToValidUTF8(text, "?")
}
