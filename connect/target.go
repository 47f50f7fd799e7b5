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
	if t.role != "" && t.role != h.config.User() {
		return nil, refuseRole(ctx, h, roleFilter{"rolname", t.role}, missingRole(t.role), flags)
	}
	if err := refuseFlags(flags); err != nil {
		return nil, err
	}
	if t.database == "" {
		return h.open(ctx, h.config)
	}
	config, err := h.config.forDatabase(t.database)
	if err != nil {
		return nil, elog.AsErrorData(err, elog.Fatal)
	}
	return h.open(ctx, config)
}

// byOID is a database and a role by OID; 0 means the host's own.
type byOID struct{ database, role uint32 }

func (t byOID) connect(ctx context.Context, h host, flags Flags) (*Conn, error) {
	if t.database == 0 && t.role == 0 {
		return byName{}.connect(ctx, h, flags)
	}
	conn, err := h.open(ctx, h.config)
	if err != nil {
		return nil, err
	}
	conn, err = t.switchTo(ctx, h, conn, flags)
	if err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

// switchTo goes on from a session with the maintenance database, which it keeps
// if that is the one asked for. With an error it returns the session to close.
func (t byOID) switchTo(ctx context.Context, h host, maintenance *Conn, flags Flags) (*Conn, error) {
	if t.role != 0 {
		role, err := lookUpRole(ctx, maintenance, roleFilter{"oid", strconv.FormatUint(uint64(t.role), 10)})
		if err == nil {
			err = role.check(h.config.User(), missingRoleOID(t.role), flags)
		}
		if err != nil {
			return maintenance, err
		}
	}
	if err := refuseFlags(flags); err != nil || t.database == 0 || t.database == maintenance.DatabaseOID() {
		return maintenance, err
	}
	name, err := lookUpDatabase(ctx, maintenance, t.database)
	if err != nil {
		return maintenance, err
	}
	_ = maintenance.Close(ctx)
	config, err := h.config.forDatabase(name)
	if err != nil {
		return maintenance, elog.AsErrorData(err, elog.Fatal)
	}
	conn, err := h.open(ctx, config)
	if err != nil {
		return maintenance, err
	}
	if conn.DatabaseOID() != t.database {
		return conn, missingDatabaseOID(t.database).WithDetail("It was renamed while the worker was connecting.")
	}
	return conn, nil
}

func lookUpDatabase(ctx context.Context, c *Conn, oid uint32) (string, error) {
	row, err := lookUp(ctx, c, "SELECT datname FROM pg_catalog.pg_database WHERE oid = $1", strconv.FormatUint(uint64(oid), 10))
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
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return fromServer(server, elog.Fatal)
	}
	return AsErrorData(err, elog.Fatal)
}
