package connect

import (
	"context"
	"strconv"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// RepairDatabases puts back every database of the server that a worker has
// opened, by BypassAllowConn, and not put back because it or the server died. It
// leaves those alone that a worker is about to put back. It is for the start of a
// host and for the server's return; what it does, and what it can't do, goes to
// report, at LOG or WARNING. The session must be one with the maintenance
// database, of a superuser if there is anything to do.
//
// A server in recovery is left as it is. Errors are those of the session.
func RepairDatabases(ctx context.Context, c *Conn, report func(*elog.ErrorData)) error {
	const query = `SELECT d.oid, d.datname FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) u (c), pg_catalog.pg_database d
WHERE d.oid OPERATOR(pg_catalog.=) s.setdatabase AND s.setrole OPERATOR(pg_catalog.=) 0 AND pg_catalog.starts_with(u.c, $1) AND NOT pg_catalog.pg_is_in_recovery()`
	result := c.PgConn().ExecParams(ctx, query, [][]byte{[]byte(ajarRecord + "=")}, nil, nil, nil).Read()
	if result.Err != nil {
		return lookUpError(ctx, result.Err)
	}
	for _, row := range result.Rows {
		oid, err := strconv.ParseUint(string(row[0]), 10, 32)
		if err != nil {
			return unexpectedAnswer()
		}
		if err := repair(ctx, &closedDatabase{c, uint32(oid), string(row[1])}, report); err != nil {
			return err
		}
	}
	return nil
}

func repair(ctx context.Context, d *closedDatabase, report func(*elog.ErrorData)) error {
	var locked bool
	if err := d.keeper.QueryRow(ctx, "SELECT pg_catalog.pg_try_advisory_lock($1, $2)", bypassLockClass, d.lockKey()).Scan(&locked); err != nil || !locked {
		return lookUpError(ctx, err)
	}
	failed := d.putBack(ctx)
	if _, err := d.keeper.Exec(ctx, "SELECT pg_catalog.pg_advisory_unlock($1, $2)", bypassLockClass, d.lockKey()); err != nil {
		return lookUpError(ctx, err)
	}
	if failed != nil {
		e := AsErrorData(failed, elog.Warning)
		e.Message = "could not put back ALLOW_CONNECTIONS false of database \"" + d.name + "\": " + e.Message
		report(e)
		return nil
	}
	report(elog.New(elog.Log, elog.SuccessfulCompletion, "database \"%s\" accepts no connections again", d.name).
		WithDetail("A worker had opened it to connect, and ended before it could put it back."))
	return nil
}
