package connect

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// byName is a database and a role by name; empty means the host's own.
type byName struct{ database, role string }

func (t byName) connect(ctx context.Context, h host, flags Flags) (*Conn, error) {
	want := wanted{database: t.database, flags: flags}
	if t.role != h.config.User() {
		want.role = roleKey{name: t.role}
	}
	return h.connect(ctx, want)
}

// byOID is a database and a role by OID; 0 means the host's own.
type byOID struct{ database, role uint32 }

func (t byOID) connect(ctx context.Context, h host, flags Flags) (*Conn, error) {
	want := wanted{flags: flags}
	if t.database == 0 && t.role == 0 {
		return h.connect(ctx, want)
	}
	maintenance, err := h.open(ctx, h.config)
	if err != nil {
		return nil, err
	}
	keep := false
	defer func() {
		if !keep {
			_ = maintenance.Close(ctx)
		}
	}()
	if err := t.lookUp(ctx, h, maintenance, &want); err != nil {
		return nil, err
	}
	if want == (wanted{flags: flags}) {
		keep = true
		return maintenance, nil
	}
	_ = maintenance.Close(ctx)
	conn, err := h.connect(ctx, want)
	if err == nil && t.database != 0 && conn.DatabaseOID() != t.database {
		_ = conn.Close(ctx)
		return nil, missingDatabaseOID(t.database).WithDetail("It was renamed while the worker was connecting.")
	}
	return conn, err
}

// lookUp finds out what is wanted, in a session with the maintenance database.
// The role comes first, as in InitPostgres.
func (t byOID) lookUp(ctx context.Context, h host, maintenance *Conn, want *wanted) error {
	if t.role != 0 {
		r, err := lookUpRole(ctx, maintenance, roleKey{oid: t.role})
		if err != nil {
			return err
		}
		if r.name != h.config.User() {
			if err := r.checkLogin(want.flags); err != nil {
				return err
			}
			want.role = roleKey{r.name, t.role}
		}
	}
	if t.database == 0 || t.database == maintenance.DatabaseOID() {
		return nil
	}
	name, err := lookUpDatabase(ctx, maintenance, t.database)
	want.database = name
	return err
}

// wanted is the session that a worker wants.
type wanted struct {
	database string  // empty: the maintenance database
	role     roleKey // zero: the host's own user
	flags    Flags
}

func (h host) connect(ctx context.Context, want wanted) (*Conn, error) {
	config, isRoles, err := h.login(want)
	if err != nil {
		return nil, elog.AsErrorData(err, elog.Fatal)
	}
	open := h.open
	if want.flags&BypassAllowConn != 0 && want.database != "" {
		open = h.openClosed
	}
	conn, err := open(ctx, config)
	if want.role == (roleKey{}) || isRoles {
		return conn, err
	}
	if err != nil {
		return nil, h.roleFirst(ctx, err, want)
	}
	if err := h.become(ctx, conn, want.role, want.flags); err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

// login returns the settings to log in with, and whether they are those of the
// role that is wanted. A flag needs the host's own login: what it bypasses, the
// server insists on at the login of anybody else.
func (h host) login(want wanted) (config *Config, isRoles bool, err error) {
	if want.database == "" {
		want.database = h.config.Database()
	}
	if want.role.name != "" && want.flags == 0 {
		own, err := h.config.ownLogin(want.role.name, want.database)
		if own != nil || err != nil {
			return own, true, err
		}
	}
	config, err = h.config.forDatabase(want.database)
	return config, false, err
}

// roleFirst returns why a session cannot be had, of which err is one reason.
// The host's login fails over the database before anybody has asked about the
// role, but InitPostgres asks about the role first.
func (h host) roleFirst(ctx context.Context, err error, want wanted) error {
	switch SQLState(err) {
	case elog.UndefinedDatabase, elog.ObjectNotInPrerequisite, elog.InsufficientPrivilege:
	default:
		return err
	}
	maintenance, failed := h.open(ctx, h.config)
	if failed != nil {
		return err
	}
	defer func() { _ = maintenance.Close(ctx) }()
	r, failed := lookUpRole(ctx, maintenance, want.role)
	if failed == nil {
		failed = r.checkLogin(want.flags)
	}
	if SQLState(failed) == elog.InvalidAuthorization {
		return failed
	}
	if e := AsErrorData(err, elog.Fatal); e.Code == elog.InsufficientPrivilege && e.Hint == "" {
		return e.WithHint("The host logs in as \"%s\", which needs that privilege, too.", h.config.User())
	}
	return err
}

func lookUpDatabase(ctx context.Context, c *Conn, oid uint32) (string, error) {
	row, err := lookUp(ctx, c, "SELECT datname FROM pg_catalog.pg_database WHERE oid OPERATOR(pg_catalog.=) $1", strconv.FormatUint(uint64(oid), 10))
	if err != nil {
		return "", err
	}
	if row == nil {
		return "", missingDatabaseOID(oid)
	}
	return row[0], nil
}

func missingDatabaseOID(oid uint32) *elog.ErrorData {
	return elog.New(elog.Fatal, elog.UndefinedDatabase, "database %d does not exist", oid)
}

// lookUp runs a query with one parameter and returns its first row, or nil.
func lookUp(ctx context.Context, c *Conn, query, arg string) ([]string, error) {
	result := c.PgConn().ExecParams(ctx, query, [][]byte{[]byte(arg)}, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, lookUpError(ctx, result.Err)
	}
	if len(result.Rows) == 0 {
		return nil, nil
	}
	row := make([]string, len(result.Rows[0]))
	for i, value := range result.Rows[0] {
		row[i] = string(value)
	}
	return row, nil
}

func lookUpError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return fromServer(server, elog.Fatal)
	}
	return AsErrorData(err, elog.Fatal)
}
