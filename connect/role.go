package connect

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// roleKey names a role by OID or, if that is 0, by name. Its zero value is the
// host's own user.
type roleKey struct {
	name string
	oid  uint32
}

func (k roleKey) missing() *elog.ErrorData {
	if k.oid != 0 {
		return elog.New(elog.Fatal, elog.InvalidAuthorization, "role with OID %d does not exist", k.oid)
	}
	return elog.New(elog.Fatal, elog.InvalidAuthorization, "role \"%s\" does not exist", k.name)
}

// role is what the server knows of a role, from the point of view of a session
// that may become it.
type role struct {
	name       string
	oid        uint32
	canLogin   bool
	canConnect bool   // has CONNECT on the session's database
	login      string // as whom the session has logged in
	superuser  bool   // the login is one
	mayBeSet   bool   // the login may SET ROLE to it
}

// roleQuery asks for the columns of role. The right to SET ROLE was one with
// membership before PostgreSQL 16. Operators are qualified here and in all that is
// sent in a worker's session: the search_path of a database is its owner's to
// choose, and may lead to operators of the owner's.
const roleQuery = `SELECT r.rolname, r.oid, r.rolcanlogin, pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT'), h.rolname, h.rolsuper,
	pg_catalog.pg_has_role(h.oid, r.oid, CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.>=) 160000 THEN 'SET' ELSE 'MEMBER' END)
FROM pg_catalog.pg_roles r, pg_catalog.pg_roles h, pg_catalog.pg_database d
WHERE h.rolname OPERATOR(pg_catalog.=) SESSION_USER AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() AND r.`

// lookUpRole returns a role that exists.
func lookUpRole(ctx context.Context, c *Conn, key roleKey) (*role, error) {
	column, value := "rolname OPERATOR(pg_catalog.=) $1", key.name
	if key.oid != 0 {
		column, value = "oid OPERATOR(pg_catalog.=) $1", strconv.FormatUint(uint64(key.oid), 10)
	}
	row, err := lookUp(ctx, c, roleQuery+column, value)
	switch {
	case err != nil:
		return nil, err
	case row == nil:
		return nil, key.missing()
	}
	oid, err := strconv.ParseUint(row[1], 10, 32)
	if err != nil {
		return nil, unexpectedAnswer()
	}
	return &role{
		name: row[0], oid: uint32(oid), canLogin: row[2] == "t", canConnect: row[3] == "t",
		login: row[4], superuser: row[5] == "t", mayBeSet: row[6] == "t",
	}, nil
}

// checkLogin mirrors the test of InitializeSessionUserId. Like there, connection
// limits of the role and the database do not count for a background worker.
func (r *role) checkLogin(flags Flags) error {
	if r.canLogin || flags&BypassRoleLoginCheck != 0 {
		return nil
	}
	return elog.New(elog.Fatal, elog.InvalidAuthorization, "role \"%s\" is not permitted to log in", r.name)
}

// checkConnect mirrors the test of CheckMyDatabase, which BypassAllowConn skips,
// too.
func (r *role) checkConnect(database string, flags Flags) error {
	if r.canConnect || flags&BypassAllowConn != 0 {
		return nil
	}
	return elog.New(elog.Fatal, elog.InsufficientPrivilege, "permission denied for database \"%s\"", database).
		WithDetail("User does not have CONNECT privilege.")
}

func (r *role) checkReach() error {
	if r.superuser || r.mayBeSet {
		return nil
	}
	quote := func(name string) string { return pgx.Identifier{name}.Sanitize() }
	return elog.New(elog.Fatal, elog.InsufficientPrivilege, "permission denied to set role \"%s\"", r.name).
		WithDetail("The host logs in as \"%s\", which is neither a superuser nor a member of that role who may SET ROLE.", r.login).
		WithHint("GRANT %s TO %s, or put a line for that role into the host's password file.", quote(r.name), quote(r.login))
}

// become makes a session that the host's user has logged in to one of another
// role: by SET SESSION AUTHORIZATION if that user is a superuser, else by SET
// ROLE. The settings of the role come along, as at a login, which applies even
// those that the role may not set itself: a superuser applies them before it
// gives up its rights. From then on no statement here names an operator, since
// the role's search_path may lead to one of the role's own.
func (h host) become(ctx context.Context, c *Conn, key roleKey, flags Flags) error {
	r, err := lookUpRole(ctx, c, key)
	if err != nil {
		return err
	}
	for _, err := range []error{r.checkLogin(flags), r.checkConnect(c.Database(), flags), r.checkReach()} {
		if err != nil {
			return err
		}
	}
	given, err := h.roleSettings(ctx, c, r.oid)
	if err != nil {
		return err
	}
	switchTo := func(setting string) error {
		return lookUpError(ctx, setAll(ctx, c, []parameter{{setting, r.name}}))
	}
	steps := []func() error{
		func() error { return switchTo("role") },
		func() error { return h.applySettings(ctx, c, r, given.ordinary) },
		func() error { return h.applySettings(ctx, c, r, given.role) },
	}
	if r.superuser {
		steps[0], steps[1] = steps[1], func() error { return switchTo("session_authorization") }
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	c.user, c.roleOID = r.name, r.oid
	return nil
}
