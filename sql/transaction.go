package sql

import (
	"context"
	"errors"
	"strings"

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

// rightsFile is the script that gives the roles their rights.
const rightsFile = "rights.sql"

// grant gives the roles their rights. Those of other extensions than the schema
// are in their own scripts.
func (t transaction) grant(ctx context.Context, e *extension) error {
	if e.name != SchemaExtension || !e.source.has(rightsFile) {
		return nil
	}
	return t.run(ctx, e, []script{{file: rightsFile, name: e.name}}, SchemaExtension)
}

// querier is a session or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// CheckOwner reports whether there is a schema pgexthost, and refuses with 42501 if
// it, or a relation in it, belongs to a role that is neither the session's user nor
// may become it. Views, rules and triggers run with the rights of whoever uses them:
// the owner of some database would get those of the host's user. To be called before
// anything of the schema is used; it needs the search_path pg_catalog, pg_temp.
//
// If there is none, nothing of it may be used: whoever may create schemas may have
// made one since.
func CheckOwner(ctx context.Context, q querier) (exists bool, err error) {
	var what, owner string
	var trusted bool
	err = q.QueryRow(ctx, `SELECT o.what, pg_get_userbyid(o.owner), pg_has_role(o.owner, current_user, 'MEMBER') AS trusted FROM (
			SELECT 'schema "pgexthost"', n.nspowner FROM pg_namespace n WHERE n.nspname = 'pgexthost'
			UNION ALL
			SELECT format('relation "pgexthost.%s"', c.relname), c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = 'pgexthost'
		) AS o (what, owner)
		ORDER BY trusted LIMIT 1`).Scan(&what, &owner, &trusted)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil || trusted:
		return err == nil, err
	}
	return true, elog.New(elog.Error, elog.InsufficientPrivilege, "%s belongs to another role than the user of the host", what).
		WithDetail("Its owner \"%s\" could have the host's user do anything.", owner).
		WithHint("Install the schema as the user of server_conninfo, or use its owner there.")
}

// schema says whether there is a schema pgexthost, and whether it is ours.
func (t transaction) schema(ctx context.Context) (exists, ours bool, err error) {
	if exists, err = CheckOwner(ctx, t.tx); err != nil || !exists {
		return false, false, err
	}
	err = t.tx.QueryRow(ctx, "SELECT to_regclass('pgexthost.extension') IS NOT NULL").Scan(&ours)
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

// checkAbsent refuses to install what is there, and what would need schema
// pgexthost without it.
func (t transaction) checkAbsent(ctx context.Context, name string) error {
	found, err := t.find(ctx, name)
	switch {
	case err != nil:
		return err
	case found != nil:
		return elog.New(elog.Error, duplicateObject, "extension \"%s\" already exists", name).WithCause(ErrInstalled).
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
		return missingRequirement(SchemaExtension)
	}
	return nil
}

// makeSchema makes the schema that a control file names, if it isn't there.
func (t transaction) makeSchema(ctx context.Context, e *extension) error {
	if e.control.schema == "" {
		return nil
	}
	exists, err := t.hasSchema(ctx, e.control.schema)
	if err != nil || exists {
		return err
	}
	return t.exec(ctx, "CREATE SCHEMA "+pgx.Identifier{e.control.schema}.Sanitize())
}

func (t transaction) hasSchema(ctx context.Context, name string) (exists bool, err error) {
	err = t.tx.QueryRow(ctx, "SELECT to_regnamespace(quote_ident($1)) IS NOT NULL", name).Scan(&exists)
	return exists, err
}

// checkSchema refuses to go on with an extension whose schema is gone: the server
// does not know that they belong together.
func (t transaction) checkSchema(ctx context.Context, i *Installed) error {
	exists, err := t.hasSchema(ctx, i.Schema)
	if err != nil || exists {
		return err
	}
	return elog.New(elog.Error, invalidSchemaName, "schema \"%s\" of extension \"%s\" does not exist any more", i.Schema, i.Name).
		WithHint("If it has another name now, say so: UPDATE pgexthost.extension SET schema = '…' WHERE name = '%s'. If it was dropped: DELETE FROM pgexthost.extension WHERE name = '%s'.", i.Name, i.Name)
}

// forgetMissing takes from an extension that is to be dropped the requirements that
// are not there: later scripts may have others, and what the server has can be
// dropped at any time.
func (t transaction) forgetMissing(ctx context.Context, e *extension) error {
	var there []string
	for _, name := range e.control.requires {
		_, err := t.schemaOf(ctx, name)
		report := elog.AsErrorData(err, elog.Error)
		switch {
		case err == nil:
			there = append(there, name)
		case report.Code != elog.UndefinedObject:
			return err
		}
	}
	e.control.requires = there
	return nil
}

func missingRequirement(name string) *elog.ErrorData {
	return elog.New(elog.Error, elog.UndefinedObject, "required extension \"%s\" is not installed", name).
		WithHint("Use \"pgexthost extension install %s\" first.", name)
}

// checkNotRequired refuses to drop what other extensions need.
func (t transaction) checkNotRequired(ctx context.Context, name string) error {
	rows, err := t.tx.Query(ctx, "SELECT name FROM pgexthost.extension WHERE $1 = ANY (requires) ORDER BY name", name)
	if err != nil {
		return err
	}
	others, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(others) == 0 {
		return err
	}
	return elog.New(elog.Error, dependentObjectsLeft, "cannot drop extension \"%s\" because other extensions depend on it", name).
		WithDetail("Those are: %s.", strings.Join(others, ", ")).WithHint("Drop them first.")
}

// checkUnused refuses to drop the schema while it is in use.
func (t transaction) checkUnused(ctx context.Context) error {
	// Nobody enters another request before the end of the transaction.
	if err := t.exec(ctx, "LOCK TABLE pgexthost.worker, pgexthost.request IN ACCESS EXCLUSIVE MODE"); err != nil {
		return err
	}
	var live, declared int
	err := t.tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM pgexthost.request WHERE state IN ('pending', 'started')),
		(SELECT count(*) FROM pgexthost.worker)`).Scan(&live, &declared)
	switch {
	case err != nil:
		return err
	case live+declared > 0:
		return elog.New(elog.Error, objectInUse, "cannot drop extension \"%s\" because workers run", SchemaExtension).
			WithDetail("Requests that are pending or started: %d. Rows of pgexthost.worker: %d.", live, declared).
			WithHint("Delete these rows, and end the requests with pgexthost.terminate(id).")
	}
	return nil
}
