package sql

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// transaction is what an operation on extensions does in its transaction.
type transaction struct{ tx pgx.Tx }

// exec runs a script.
func (t transaction) exec(ctx context.Context, script string) error {
	_, err := t.tx.Conn().PgConn().Exec(ctx, script).ReadAll()
	return err
}

func (t transaction) runFile(ctx context.Context, c Catalog, file, schema string) error {
	text, err := c.read(file, schema)
	if err != nil {
		return err
	}
	return t.exec(ctx, text)
}

func (t transaction) run(ctx context.Context, c Catalog, path []script, schema string) error {
	for _, s := range path {
		if err := t.runFile(ctx, c, s.file, schema); err != nil {
			return err
		}
	}
	return nil
}

// grant gives the roles their rights. Those of other extensions than the schema
// are in their own scripts.
func (t transaction) grant(ctx context.Context, c Catalog, name string) error {
	const file = "rights.sql"
	if name != SchemaExtension || !c.has(file) {
		return nil
	}
	return t.runFile(ctx, c, file, SchemaExtension)
}

// querier is a session or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// CheckOwner refuses with 42501 if schema pgexthost, or a relation in it, belongs to
// a role that is neither the session's user nor may become it. Views, rules and
// triggers run with the rights of whoever uses them: the owner of some database
// would get those of the host's user. To be called before anything of the schema is
// used; it needs the search_path pg_catalog, pg_temp. No schema is no error.
func CheckOwner(ctx context.Context, q querier) error {
	var what, owner string
	err := q.QueryRow(ctx, `SELECT o.what, pg_get_userbyid(o.owner) FROM (
			SELECT 'schema "pgexthost"', n.nspowner FROM pg_namespace n WHERE n.nspname = 'pgexthost'
			UNION ALL
			SELECT format('relation "pgexthost.%s"', c.relname), c.relowner FROM pg_class c WHERE c.relnamespace = to_regnamespace('pgexthost')
		) AS o (what, owner)
		WHERE NOT pg_has_role(o.owner, current_user, 'MEMBER') LIMIT 1`).Scan(&what, &owner)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return elog.New(elog.Error, elog.InsufficientPrivilege, "%s belongs to another role than the user of the host", what).
		WithDetail("Its owner \"%s\" could have the host's user do anything.", owner).
		WithHint("Install the schema as the user of server_conninfo, or use its owner there.")
}

// schema says whether there is a schema pgexthost, and whether it is ours.
func (t transaction) schema(ctx context.Context) (exists, ours bool, err error) {
	if err := CheckOwner(ctx, t.tx); err != nil {
		return false, false, err
	}
	err = t.tx.QueryRow(ctx, "SELECT to_regnamespace('pgexthost') IS NOT NULL, to_regclass('pgexthost.extension') IS NOT NULL").Scan(&exists, &ours)
	return exists, ours, err
}

// installed returns what is installed.
func (t transaction) installed(ctx context.Context) ([]Installed, error) {
	if _, ours, err := t.schema(ctx); err != nil || !ours {
		return nil, err
	}
	rows, err := t.tx.Query(ctx, "SELECT name, version, schema FROM pgexthost.extension ORDER BY name COLLATE \"C\"")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Installed])
}

// find returns an installed extension, or nil.
func (t transaction) find(ctx context.Context, name string) (*Installed, error) {
	all, err := t.installed(ctx)
	for i := range all {
		if all[i].Name == name {
			return &all[i], err
		}
	}
	return nil, err
}

func (t transaction) require(ctx context.Context, name string) (*Installed, error) {
	found, err := t.find(ctx, name)
	if err == nil && found == nil {
		err = elog.New(elog.Error, elog.UndefinedObject, "extension \"%s\" is not installed", name)
	}
	return found, err
}

// checkAbsent refuses to install what is there, and without what it needs.
func (t transaction) checkAbsent(ctx context.Context, name string) error {
	found, err := t.find(ctx, name)
	switch {
	case err != nil:
		return err
	case found != nil:
		return elog.New(elog.Error, duplicateObject, "extension \"%s\" already exists", name).
			WithHint("Version %s is installed. \"pgexthost extension upgrade\" brings it up to date.", found.Version)
	}
	exists, ours, err := t.schema(ctx)
	switch {
	case err != nil:
		return err
	case name == SchemaExtension && exists:
		return elog.New(elog.Error, duplicateSchema, "schema \"%s\" already exists", SchemaExtension).
			WithDetail("It is not one that pgexthost has made.").WithHint("Rename or drop it.")
	case name != SchemaExtension && !ours:
		return elog.New(elog.Error, elog.UndefinedObject, "required extension \"%s\" is not installed", SchemaExtension).
			WithHint("Use \"pgexthost extension install %s\" first.", SchemaExtension)
	}
	return nil
}

// checkUnused refuses to drop the schema while it is in use.
func (t transaction) checkUnused(ctx context.Context) error {
	// Nobody enters another request before the end of the transaction.
	if err := t.exec(ctx, "LOCK TABLE pgexthost.worker, pgexthost.request IN ACCESS EXCLUSIVE MODE"); err != nil {
		return err
	}
	var live, declared, others int
	err := t.tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM pgexthost.request WHERE state IN ('pending', 'started')),
		(SELECT count(*) FROM pgexthost.worker), (SELECT count(*) FROM pgexthost.extension WHERE name <> $1)`, SchemaExtension).Scan(&live, &declared, &others)
	switch {
	case err != nil:
		return err
	case others > 0:
		return elog.New(elog.Error, dependentObjectsLeft, "cannot drop extension \"%s\" because other extensions depend on it", SchemaExtension).
			WithHint("Drop those first, which \"pgexthost extension list\" shows.")
	case live+declared > 0:
		return elog.New(elog.Error, objectInUse, "cannot drop extension \"%s\" because workers run", SchemaExtension).
			WithDetail("Requests that are pending or started: %d. Rows of pgexthost.worker: %d.", live, declared).
			WithHint("Delete these rows, and end the requests with pgexthost.terminate(id).")
	}
	return nil
}
