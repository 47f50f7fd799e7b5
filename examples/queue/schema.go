package queue

import (
	"context"
	"embed"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// channel is what workers listen to, and the triggers of schema/ notify.
const channel = "queue"

// schemaVersion is the version of the tables that this code works with. Of each
// version there is a file in schema/ that makes it of the one before, and a
// worker of an older one must be able to go on with it: others are still running.
const schemaVersion = 1

//go:embed schema/*.sql
var scripts embed.FS

// schemaLock is the key of the advisory lock for upgrades: "queue" in ASCII.
const schemaLock = 0x7175657565

// upgradeSchema makes the tables if they are not there, and brings them up to
// date if an older version of this library has made them. Of several workers
// that come here at once, one does it.
func upgradeSchema(ctx context.Context, conn *connect.Conn) error {
	version, err := installedVersion(ctx, conn)
	if err != nil || version >= schemaVersion {
		return err
	}
	return conn.InTransaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
			return err
		}
		version, err := installedVersion(ctx, tx) // another worker may have been faster
		if err != nil {
			return err
		}
		if version == 0 {
			if err := makeSchema(ctx, tx); err != nil {
				return err
			}
		}
		for version++; version <= schemaVersion; version++ {
			script, err := scripts.ReadFile(fmt.Sprintf("schema/%d.sql", version))
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, string(script)); err != nil {
				return err
			}
		}
		return nil
	})
}

// makeSchema creates the schema, unless somebody has done that for us.
func makeSchema(ctx context.Context, tx pgx.Tx) error {
	var exists bool
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'queue')").Scan(&exists)
	if err != nil || exists {
		return err
	}
	_, err = tx.Exec(ctx, "CREATE SCHEMA queue")
	return err
}

// querier is what conn and tx have in common.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// installedVersion returns the version of the tables, or 0 if there are none.
func installedVersion(ctx context.Context, db querier) (version int, err error) {
	var exists bool
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'queue' AND c.relname = 'schema_version')`).Scan(&exists)
	if err != nil || !exists {
		return 0, err
	}
	err = db.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM queue.schema_version").Scan(&version)
	if err == nil && version == 0 {
		err = elog.New(elog.Error, elog.ObjectNotInPrerequisite, "table \"queue.schema_version\" is empty").
			WithHint("Was it restored without its rows? The highest number of a file in schema/ that was run belongs there.")
	}
	return version, err
}
