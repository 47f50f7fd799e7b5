package sql

import (
	"cmp"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// SQLSTATEs that only extensions need.
const (
	duplicateObject      elog.SQLState = "42710"
	invalidSchemaName    elog.SQLState = "3F000"
	duplicateSchema      elog.SQLState = "42P06"
	dependentObjectsLeft elog.SQLState = "2BP01"
	objectInUse          elog.SQLState = "55006"
)

// The keys of the advisory lock that each operation on extensions holds: it runs
// alone in the database. LockClass is "pgex" in ASCII; of the second keys, 1 is the
// launcher's.
const (
	LockClass     = 0x70676578
	ExtensionLock = 2
)

// ErrInstalled is the cause of the error of [Catalog.Install] that says that the
// extension is installed already. An error of a script never has it.
var ErrInstalled = errors.New("the extension is installed")

// Install installs an extension in the session's database, in the version that its
// control file names, or else the latest, and returns that. An empty schema is the
// one that the control file names, or else public; SchemaExtension has its own.
//
// Errors are *elog.ErrorData, the server's own included, which say where in which
// script: those of [Catalog.Version]; 22023 if no script leads to the version;
// 42704 if an extension that it needs is not installed; 42710 if it is installed
// already; 3F000 if there is no such schema; 42P06 if there is a schema pgexthost
// that is not ours; 42501 if the session's user may not create something.
func (c Catalog) Install(ctx context.Context, conn *connect.Conn, name, schema string) (version string, err error) {
	e, err := c.find(name)
	if err != nil {
		return "", err
	}
	path, err := e.installPath()
	if err != nil {
		return "", err
	}
	if schema, err = e.schema(schema); err != nil {
		return "", err
	}
	version = e.version()
	return version, c.change(ctx, conn, func(ctx context.Context, t transaction) error {
		if err := t.checkAbsent(ctx, name); err != nil {
			return err
		}
		if err := t.makeSchema(ctx, e); err != nil {
			return err
		}
		if err := t.run(ctx, e, path, schema); err != nil {
			return err
		}
		if _, err := t.tx.Exec(ctx, "INSERT INTO pgexthost.extension (name, version, schema, requires) VALUES ($1, $2, $3, $4)",
			name, version, schema, e.requires()); err != nil {
			return err
		}
		return t.grant(ctx, e)
	})
}

// schema returns where the extension is to be installed. Mirrors the part of
// CreateExtensionInternal about it.
func (e *extension) schema(wanted string) (string, error) {
	fixed := e.control.schema
	if e.name == SchemaExtension {
		return SchemaExtension, nil // whatever is asked for
	}
	switch {
	case fixed == "":
		return cmp.Or(wanted, "public"), nil
	case wanted != "" && wanted != fixed:
		return "", elog.New(elog.Error, elog.FeatureNotSupported, "extension \"%s\" must be installed in schema \"%s\"", e.name, fixed)
	}
	return fixed, nil
}

// Upgrade brings an installed extension to the version that Install would install.
// That of SchemaExtension grants the rights again even if that is installed
// already. Errors are as Install's, and 22023 if no script leads there, as with a
// version later than the one that is known here.
func (c Catalog) Upgrade(ctx context.Context, conn *connect.Conn, name string) (from, to string, err error) {
	e, err := c.find(name)
	if err != nil {
		return "", "", err
	}
	to = e.version()
	return from, to, c.change(ctx, conn, func(ctx context.Context, t transaction) error {
		installed, err := t.require(ctx, name)
		if err != nil {
			return err
		}
		from = installed.Version
		path, err := e.upgradePath(from)
		if err != nil {
			return err
		}
		if err := t.checkSchema(ctx, installed); err != nil {
			return err
		}
		if err := t.run(ctx, e, path, installed.Schema); err != nil {
			return err
		}
		if _, err := t.tx.Exec(ctx, "UPDATE pgexthost.extension SET version = $2, requires = $3 WHERE name = $1", name, to, e.requires()); err != nil {
			return err
		}
		return t.grant(ctx, e)
	})
}

// Drop removes an installed extension. It is refused with 55006 while requests of
// the database are pending or started, with 2BP01 while anything depends on it
// that is not its own, and with 0A000 if there is no script for it.
func (c Catalog) Drop(ctx context.Context, conn *connect.Conn, name string) error {
	e, err := c.find(name)
	if err != nil {
		return err
	}
	return c.change(ctx, conn, func(ctx context.Context, t transaction) error {
		installed, err := t.require(ctx, name)
		if err != nil {
			return err
		}
		file, err := e.dropFile()
		if err != nil {
			return err
		}
		if err := t.checkNotRequired(ctx, name); err != nil {
			return err
		}
		if name == SchemaExtension {
			if err := t.checkUnused(ctx); err != nil {
				return err
			}
		} else if _, err := t.tx.Exec(ctx, "DELETE FROM pgexthost.extension WHERE name = $1", name); err != nil {
			return err
		}
		if err := t.checkSchema(ctx, installed); err != nil {
			return err
		}
		if err := t.forgetMissing(ctx, e); err != nil {
			return err
		}
		return t.run(ctx, e, []script{{file: file, name: name}}, installed.Schema)
	})
}

// dropFile returns the name of the script that drops the extension.
func (e *extension) dropFile() (string, error) {
	file := e.name + "--" + dropWord + ".sql"
	if !e.source.has(file) {
		return "", elog.New(elog.Error, elog.FeatureNotSupported, "extension \"%s\" cannot be dropped", e.name).
			WithDetail("There is no file \"%s\".", e.source.path(file))
	}
	return file, nil
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

// ownSettings are those of the transaction, and of the scripts that are part of the
// program.
const ownSettings = "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL check_function_bodies = on; SET LOCAL standard_conforming_strings = on"

// change runs one of the operations, alone in the database.
func (c Catalog) change(ctx context.Context, conn *connect.Conn, do func(ctx context.Context, t transaction) error) error {
	err := conn.InTransactionWith(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(ctx context.Context, tx pgx.Tx) error {
		t := transaction{tx}
		if err := t.exec(ctx, ownSettings); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, $2)", LockClass, ExtensionLock); err != nil {
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
