package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// demoTable is the table of one worker.
type demoTable struct {
	schema string
	total  int // what its total must be
}

func (t *demoTable) name() string { return t.schema + ".counted" }

// claimTables notes what is there already, in a server that is not the demo's
// own, and arranges for the rest to be removed.
func (d *demo) claimTables(ctx context.Context, conn *pgx.Conn) ([]*demoTable, error) {
	tables := []*demoTable{{schema: "schema1"}, {schema: "schema2"}}
	for _, t := range tables {
		var exists bool
		err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", t.schema).Scan(&exists)
		if err != nil {
			return nil, err
		}
		if exists {
			continue
		}
		d.later(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), demoLimit)
			defer cancel()
			_, err := conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+t.schema+" CASCADE")
			return err
		})
	}
	return tables, nil
}

// perform is the demo itself: rows in, totals out, twice.
func (d *demo) perform(ctx context.Context, conn *pgx.Conn, tables []*demoTable, running *demoHost) error {
	watch := func(what, sql string, want int, args ...any) error {
		return await(ctx, running, what, func(ctx context.Context) (bool, error) {
			var got int
			err := conn.QueryRow(ctx, sql, args...).Scan(&got)
			return got == want, err
		})
	}
	for _, t := range tables {
		if err := watch(t.name()+" to be created",
			"SELECT count(*) FROM pg_tables WHERE schemaname = $1 AND tablename = 'counted'", 1, t.schema); err != nil {
			return err
		}
	}
	fmt.Print("\nEach worker has made itself a table. Inserting a total row and some deltas, twice\n")
	for round := 1; round <= 2; round++ {
		for i, t := range tables {
			if err := insertDeltas(ctx, conn, t, []int{1 * round, 10 * round, 100 * (i + 1)}); err != nil {
				return err
			}
		}
		for _, t := range tables {
			sql := "SELECT coalesce(sum(value), -1) FROM " + t.name() + " WHERE type = 'total' AND NOT EXISTS (SELECT FROM " + t.name() + " WHERE type = 'delta')"
			if err := watch(fmt.Sprintf("the total of %s to be %d", t.name(), t.total), sql, t.total); err != nil {
				return err
			}
			fmt.Printf("  %s: the total is %d, as it should be, and the deltas are gone\n", t.name(), t.total)
		}
	}
	return showActivity(ctx, conn)
}

// insertDeltas adds rows for the worker to sum up, in one transaction, so that
// no delta is seen before the total row it goes into.
func insertDeltas(ctx context.Context, conn *pgx.Conn, t *demoTable, deltas []int) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO "+t.name()+" VALUES ('total', 0) ON CONFLICT DO NOTHING")
		if err != nil {
			return err
		}
		// What is there already, deltas included, will be in the total, too.
		if t.total == 0 {
			if err := tx.QueryRow(ctx, "SELECT sum(value) FROM "+t.name()).Scan(&t.total); err != nil {
				return err
			}
		}
		for _, delta := range deltas {
			if _, err := tx.Exec(ctx, "INSERT INTO "+t.name()+" VALUES ('delta', $1)", delta); err != nil {
				return err
			}
			t.total += delta
		}
		return nil
	})
	fmt.Printf("  %s: inserted %s\n", t.name(), strings.Trim(fmt.Sprint(deltas), "[]"))
	return err
}

// await polls until the condition holds. It gives up when the host ends or
// after demoLimit.
func await(ctx context.Context, running *demoHost, what string, condition func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, demoLimit, elog.New(elog.Error, elog.SystemError, "timed out waiting for %s", what))
	defer cancel()
	for {
		ok, err := condition(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		case ok:
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-running.exited:
			return elog.New(elog.Error, elog.SystemError, "the host ended while the demo was waiting for %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func showActivity(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT pid, datname, application_name, state
		FROM pg_stat_activity WHERE application_name LIKE 'worker\_spi%' ORDER BY application_name`)
	if err != nil {
		return err
	}
	fmt.Print("\nThe workers are sessions of the server like any other, as pg_stat_activity shows\n")
	var pid int
	var database, name, state string
	_, err = pgx.ForEachRow(rows, []any{&pid, &database, &name, &state}, func() error {
		fmt.Printf("  pid %d | %s | %s | %s\n", pid, database, name, state)
		return nil
	})
	return err
}
