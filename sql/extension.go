package sql

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// SQLSTATEs that only extensions need.
const (
	duplicateObject      elog.SQLState = "42710"
	duplicateSchema      elog.SQLState = "42P06"
	dependentObjectsLeft elog.SQLState = "2BP01"
	objectInUse          elog.SQLState = "55006"
)

// lockClass is the first key of the package's advisory locks: "pgex" in ASCII.
// Of the second keys, 1 is the launcher's.
const (
	lockClass     = 0x70676578
	extensionLock = 2
)

// Install installs the latest version of an extension in the session's database,
// and returns it. The schema is ignored for SchemaExtension, which has its own.
//
// Errors are *elog.ErrorData, the server's own included: 42704 if there is no such
// extension, or the one that it needs is not installed; 42710 if it is installed
// already; 42P06 if there is a schema pgexthost that is not ours; 42501 if the
// session's user may not create one.
func (c Catalog) Install(ctx context.Context, conn *connect.Conn, name, schema string) (version string, err error) {
	version = c.Latest(name)
	if version == "" {
		return "", unavailable(name)
	}
	if name == SchemaExtension {
		schema = SchemaExtension
	}
	return version, c.change(ctx, conn, func(ctx context.Context, t transaction) error {
		if err := t.checkAbsent(ctx, name); err != nil {
			return err
		}
		if err := t.run(ctx, c, c.path(name, "", version), schema); err != nil {
			return err
		}
		if _, err := t.tx.Exec(ctx, "INSERT INTO pgexthost.extension (name, version, schema) VALUES ($1, $2, $3)", name, version, schema); err != nil {
			return err
		}
		return t.grant(ctx, c, name)
	})
}

// Upgrade brings an installed extension to the latest version. It grants the
// rights again even if that is installed already. Errors are as Install's, and
// 22023 if no script leads there, as with a version later than the latest that is
// known here.
func (c Catalog) Upgrade(ctx context.Context, conn *connect.Conn, name string) (from, to string, err error) {
	to = c.Latest(name)
	if to == "" {
		return "", "", unavailable(name)
	}
	return from, to, c.change(ctx, conn, func(ctx context.Context, t transaction) error {
		installed, err := t.require(ctx, name)
		if err != nil {
			return err
		}
		from = installed.Version
		path := c.path(name, from, to)
		if path == nil || compareVersions(from, to) > 0 {
			return elog.New(elog.Error, elog.InvalidParameterValue, "extension \"%s\" has no update path from version \"%s\" to version \"%s\"", name, from, to).
				WithHint("Use a pgexthost that knows version \"%s\".", from)
		}
		if err := t.run(ctx, c, path, installed.Schema); err != nil {
			return err
		}
		if _, err := t.tx.Exec(ctx, "UPDATE pgexthost.extension SET version = $2 WHERE name = $1", name, to); err != nil {
			return err
		}
		return t.grant(ctx, c, name)
	})
}

// Drop removes an installed extension. It is refused with 55006 while requests of
// the database are pending or started, and with 2BP01 while anything depends on it
// that is not its own.
func (c Catalog) Drop(ctx context.Context, conn *connect.Conn, name string) error {
	if c.Latest(name) == "" {
		return unavailable(name)
	}
	return c.change(ctx, conn, func(ctx context.Context, t transaction) error {
		installed, err := t.require(ctx, name)
		if err != nil {
			return err
		}
		if name == SchemaExtension {
			if err := t.checkUnused(ctx); err != nil {
				return err
			}
		} else if _, err := t.tx.Exec(ctx, "DELETE FROM pgexthost.extension WHERE name = $1", name); err != nil {
			return err
		}
		return t.runFile(ctx, c, name+"--drop.sql", installed.Schema)
	})
}

// Installed is an extension of a database.
type Installed struct{ Name, Version, Schema string }

// List returns what is installed in the session's database, by name; nothing if
// schema pgexthost is not.
func (c Catalog) List(ctx context.Context, conn *connect.Conn) (all []Installed, err error) {
	err = c.change(ctx, conn, func(ctx context.Context, t transaction) error {
		all, err = t.installed(ctx)
		return err
	})
	return all, err
}

// MissingRoles returns those of the two roles that the server does not have,
// because the session's user could not create them.
func MissingRoles(ctx context.Context, conn *connect.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, `SELECT r FROM pg_catalog.unnest(ARRAY['pgexthost_operator', 'pgexthost_reader']) r
		WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) r) ORDER BY 1`)
	if err != nil {
		return nil, describe(conn, err)
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return missing, describe(conn, err)
}

func unavailable(name string) *elog.ErrorData {
	return elog.New(elog.Error, elog.UndefinedObject, "extension \"%s\" is not available", name).
		WithHint("\"pgexthost extension list\" shows those that are.")
}

// change runs one of the operations, alone in the database.
func (c Catalog) change(ctx context.Context, conn *connect.Conn, do func(ctx context.Context, t transaction) error) error {
	err := conn.InTransactionWith(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(ctx context.Context, tx pgx.Tx) error {
		t := transaction{tx}
		// The path is for whatever is in the scripts; client_min_messages, for their
		// notices, which nobody reads.
		if err := t.exec(ctx, "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL check_function_bodies = on"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, $2)", lockClass, extensionLock); err != nil {
			return err
		}
		return do(ctx, t)
	})
	return describe(conn, err)
}

// describe words an error of the session, and leaves our own as they are.
func describe(conn *connect.Conn, err error) error {
	if err == nil {
		return nil
	}
	return conn.DescribeError(err)
}
