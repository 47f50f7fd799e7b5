package main

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/connect"
)

// statements runs SQL, in a transaction or each statement in one of its own.
// All SQL of the library goes through it, so that tests can stop the worker
// between any two statements.
type statements struct {
	on     querier
	before func(sql string) error // nil but in tests
}

type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// exec returns the number of rows that the statement has touched.
func (s statements) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	if err := s.reach(sql); err != nil {
		return 0, err
	}
	tag, err := s.on.Exec(ctx, sql, args...)
	return tag.RowsAffected(), err
}

func (s statements) query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := s.reach(sql); err != nil {
		return nil, err
	}
	return s.on.Query(ctx, sql, args...)
}

func (s statements) reach(sql string) error {
	if s.before == nil {
		return nil
	}
	return s.before(sql)
}

// value returns the one value that a query returns. It is an error if there is
// no row.
func value[T any](ctx context.Context, s statements, sql string, args ...any) (T, error) {
	rows, err := s.query(ctx, sql, args...)
	if err != nil {
		var zero T
		return zero, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
}

// values returns the values of a query that has one column.
func values[T any](ctx context.Context, s statements, sql string, args ...any) ([]T, error) {
	rows, err := s.query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

// structs returns the rows of a query, whose columns fill the fields in order.
func structs[T any](ctx context.Context, s statements, sql string, args ...any) ([]T, error) {
	rows, err := s.query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

// session is the worker's session.
type session struct {
	statements
	conn *connect.Conn
}

func newSession(conn *connect.Conn) session {
	return session{statements{on: conn}, conn}
}

// transaction runs work in a transaction.
func (s session) transaction(ctx context.Context, work func(ctx context.Context, tx statements) error) error {
	return s.conn.InTransaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := work(ctx, statements{tx, s.before}); err != nil {
			return err
		}
		return s.reach("COMMIT")
	})
}

// hold makes the server itself end a transaction that may keep applications
// waiting, if a statement takes too long, or if this process is not there to send
// the next one.
func (s statements) hold(ctx context.Context, longest time.Duration) error {
	_, err := s.exec(ctx, `SELECT set_config(name, $1, true)
		FROM unnest(ARRAY['statement_timeout', 'idle_in_transaction_session_timeout']) AS name`, milliseconds(longest))
	return err
}

// milliseconds is a time as the server's settings take it. It is never 0, which
// would be no limit.
func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(d.Milliseconds(), 1), 10)
}

func quote(names ...string) string { return pgx.Identifier(names).Sanitize() }
