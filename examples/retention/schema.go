package main

import (
	"context"
	"embed"
	"strconv"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// scripts are the versions of the schema "retention", each of which leads on
// from the one before.
//
//go:embed schema/*.sql
var scripts embed.FS

// schemaVersion is the version that this program works with.
const schemaVersion = 1

// migrate creates the schema, or brings it up to date, each version in a
// transaction of its own. The caller has the advisory lock.
//
// A schema of that name that belongs to another role is refused: whoever owns a
// table can put a trigger on it, which would run with this worker's rights.
func (m *manager) migrate(ctx context.Context) error {
	owned, err := values[bool](ctx, m.statements, `SELECT bool_and(owner = current_user::regrole) FROM (
			SELECT nspowner AS owner FROM pg_namespace WHERE nspname = 'retention'
			UNION ALL
			SELECT relowner FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'retention')
			UNION ALL
			SELECT proowner FROM pg_proc WHERE pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'retention')
		) AS o HAVING count(*) > 0`)
	if err != nil {
		return err
	}
	if len(owned) > 0 && !owned[0] {
		return elog.New(elog.Error, elog.InsufficientPrivilege, "schema \"%s\" or something in it belongs to another role", "retention").
			WithHint("Set \"retention.role\" to the role that owns it, or make the role of this worker its owner.")
	}
	version := 0
	if len(owned) > 0 {
		if version, err = m.schemaVersion(ctx); err != nil {
			return err
		}
	}
	if version > schemaVersion {
		return elog.New(elog.Error, elog.ObjectNotInPrerequisite, "schema \"%s\" has version %d, which this program does not know", "retention", version).
			WithDetail("It knows version %d.", schemaVersion).
			WithHint("Update the library on this host.")
	}
	for version < schemaVersion {
		version++
		if err := m.upgrade(ctx, version); err != nil {
			return err
		}
	}
	return nil
}

// schemaVersion returns 0 for a schema that somebody has made in advance,
// because the worker's role may not.
func (m *manager) schemaVersion(ctx context.Context) (int, error) {
	there, err := value[bool](ctx, m.statements, "SELECT to_regclass('retention.version') IS NOT NULL")
	if err != nil || !there {
		return 0, err
	}
	return value[int](ctx, m.statements, "SELECT max(version) FROM retention.version")
}

func (m *manager) upgrade(ctx context.Context, version int) error {
	script, err := scripts.ReadFile("schema/" + strconv.Itoa(version) + ".sql")
	if err != nil {
		return err
	}
	return m.transaction(ctx, func(ctx context.Context, tx statements) error {
		there, err := value[bool](ctx, tx, "SELECT to_regnamespace('retention') IS NOT NULL")
		if err != nil {
			return err
		}
		if !there {
			if _, err := tx.exec(ctx, "CREATE SCHEMA retention"); err != nil {
				return err
			}
		}
		if _, err := tx.exec(ctx, string(script)); err != nil {
			return err
		}
		_, err = tx.exec(ctx, "INSERT INTO retention.version (version) VALUES ($1)", version)
		return err
	})
}
