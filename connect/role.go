package connect

import (
	"context"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// role is what the server knows of a role; nil if there is none.
type role struct {
	name     string
	canLogin bool
}

// roleFilter is a column of pg_roles and its value.
type roleFilter struct{ column, value string }

func lookUpRole(ctx context.Context, c *Conn, by roleFilter) (*role, error) {
	row, err := lookUp(ctx, c, "SELECT rolname, rolcanlogin FROM pg_catalog.pg_roles WHERE "+by.column+" = $1", by.value)
	if row == nil {
		return nil, err
	}
	return &role{name: row[0], canLogin: row[1] == "t"}, nil
}

// refuseRole says what stands against connecting as another role than the
// host's own. It asks the server first, because a role that does not exist, or
// cannot log in, is an error there is more to say about.
func refuseRole(ctx context.Context, h host, by roleFilter, missing *elog.ErrorData, flags Flags) error {
	conn, err := h.open(ctx, h.config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	r, err := lookUpRole(ctx, conn, by)
	if err != nil {
		return err
	}
	return r.check(h.config.User(), missing, flags)
}

// check returns nil for the host's own role, and otherwise why the worker cannot
// connect as it.
func (r *role) check(own string, missing *elog.ErrorData, flags Flags) error {
	switch {
	case r == nil:
		return missing
	case r.name == own:
		return nil
	case !r.canLogin && flags&BypassRoleLoginCheck == 0:
		return elog.New(elog.Fatal, elog.InvalidAuthorization, "role \"%s\" is not permitted to log in", r.name)
	}
	return elog.New(elog.Fatal, elog.FeatureNotSupported, "cannot connect as role \"%s\"", r.name).
		WithDetail("Workers connect as the user of the host's own settings, \"%s\".", own).
		WithHint("Name the role as user in \"server_conninfo\", or run a host of its own for it.")
}

func missingRole(name string) *elog.ErrorData {
	return elog.New(elog.Fatal, elog.InvalidAuthorization, "role \"%s\" does not exist", name)
}

func missingRoleOID(oid uint32) *elog.ErrorData {
	return elog.New(elog.Fatal, elog.InvalidAuthorization, "role with OID %d does not exist", oid)
}
