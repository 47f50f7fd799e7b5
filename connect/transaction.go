package connect

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// rollbackLimit bounds a roll-back: it is wanted when the caller's context has
// ended, too.
const rollbackLimit = time.Second

// InTransaction runs work within a transaction: it commits if work returns nil,
// and rolls back if work returns an error, panics, or ctx has ended meanwhile.
// What work returns is returned as it is, and a panic goes on, whatever becomes
// of the roll-back. If work returns nil although a statement of it failed, the
// error has SQLSTATE 25P02.
//
// "pgexthost why" shows the statements while they run. Mirrors
// StartTransactionCommand, pgstat_report_activity and CommitTransactionCommand.
func (c *Conn) InTransaction(ctx context.Context, work func(ctx context.Context, tx pgx.Tx) error) error {
	return c.InTransactionWith(ctx, pgx.TxOptions{}, work)
}

// InTransactionWith is InTransaction with an isolation level or access mode.
func (c *Conn) InTransactionWith(ctx context.Context, opts pgx.TxOptions, work func(ctx context.Context, tx pgx.Tx) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	tx, err := c.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	finished := false
	defer func() {
		if !finished { // an error, a panic or runtime.Goexit, which go on
			rollBack(ctx, tx)
		}
	}()
	if err := work(ctx, tx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	finished = true
	return commit(ctx, tx)
}

func commit(ctx context.Context, tx pgx.Tx) error {
	err := tx.Commit(ctx)
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return elog.New(elog.Error, elog.InFailedSQLTransaction, "transaction was rolled back instead of committed").
			WithDetail("A statement of it had failed.").WithCause(err)
	}
	return err
}

// rollBack needs no result: if it fails, the session is lost, and the next
// statement says so.
func rollBack(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackLimit)
	defer cancel()
	_ = tx.Rollback(ctx)
}
