package workerspi

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
)

// table is the table of one worker.
type table struct {
	index        int32
	schema, name string
}

func tableOf(mainArg int64) table {
	index := int32(mainArg) // as DatumGetInt32 does
	return table{index, fmt.Sprintf("schema%d", index), "counted"}
}

// createSQL makes schema, table and index in one statement.
func (t table) createSQL() string {
	return t.expand(`CREATE SCHEMA {schema}
CREATE TABLE {name} (
	type text CHECK (type IN ('total', 'delta')),
	value integer)
CREATE UNIQUE INDEX {unique} ON {name} (type) WHERE type = 'total'`)
}

// countSQL deletes the deltas and adds their sum to the total. Without a total
// row it returns no row, and the deltas are gone all the same.
func (t table) countSQL() string {
	return t.expand(`WITH deleted AS (
	DELETE FROM {schema}.{name} WHERE type = 'delta' RETURNING value
), total AS (
	SELECT coalesce(sum(value), 0) AS sum FROM deleted
)
UPDATE {schema}.{name} SET value = {name}.value + total.sum
FROM total WHERE type = 'total'
RETURNING {name}.value`)
}

func (t table) expand(sql string) string {
	quote := func(name string) string { return pgx.Identifier{name}.Sanitize() }
	return strings.NewReplacer(
		"{schema}", quote(t.schema), "{name}", quote(t.name), "{unique}", quote(t.name+"_unique_total"),
	).Replace(sql)
}

// lockClass is the first key of the library's advisory locks: "SPI" in ASCII.
const lockClass = 0x535049

// create creates the table unless its schema is there. Two workers of one index
// may come here at once: the lock makes the second wait for the first one's
// commit, and read committed makes it see what that has created.
func (t table) create(ctx context.Context, conn *connect.Conn) error {
	readCommitted := pgx.TxOptions{IsoLevel: pgx.ReadCommitted}
	return conn.InTransactionWith(ctx, readCommitted, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, $2)", int32(lockClass), t.index); err != nil {
			return err
		}
		var exists bool
		err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", t.schema).Scan(&exists)
		if err != nil || exists {
			return err
		}
		_, err = tx.Exec(ctx, t.createSQL())
		return err
	})
}

// count brings the total up to date and returns it, or nil if there is no total
// row, or a null in it.
func (t table) count(ctx context.Context, conn *connect.Conn) (total *int32, err error) {
	err = conn.InTransaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, t.countSQL()).Scan(&total)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // commit: the deltas are lost, as in the original
		}
		return err
	})
	return total, err
}
