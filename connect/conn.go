package connect

import (
	"cmp"
	"context"
	"errors"
	"net"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/standalone"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Conn is a session with the server: a pgx connection, and what the host needs
// to know of it. Like pgx's, it is for one goroutine at a time, except for
// CancelRequest.
//
// A statement whose context ends is cancelled on the server and returns
// SQLSTATE 57014; the session survives, unless the server does not answer
// within two seconds. The error is the server's: errors.Is finds neither
// context.DeadlineExceeded nor context.Canceled in it, nor the cause of the end.
// Ask the context.
type Conn struct {
	*pgx.Conn
	wire        *wire
	tracer      *activityTracer // nil if the session is not a worker's
	databaseOID uint32
	user        string // that the session has become, or ""
	roleOID     uint32 // of that, or 0
	address     string
	watch       *standalone.Watch // of the test that the worker runs in, or nil
}

var _ plugins.Session = (*Conn)(nil)

// Database returns the name of the database.
func (c *Conn) Database() string { return c.Config().Database }

// DatabaseOID returns the database's OID. Mirrors MyDatabaseId.
func (c *Conn) DatabaseOID() uint32 { return c.databaseOID }

// User returns the name of the role that the session was opened as: the one that
// the caller of InitializeConnection asked for, whoever has logged in.
func (c *Conn) User() string { return cmp.Or(c.user, c.Config().User) }

// RoleOID returns the OID of the role that the session has become, or 0 if it is
// that of the role that has logged in.
func (c *Conn) RoleOID() uint32 { return c.roleOID }

// ServerVersion returns the server's version as it reports it, such as
// "15.18 (Debian 15.18-1)".
func (c *Conn) ServerVersion() string { return c.PgConn().ParameterStatus("server_version") }

// Address returns the path of the socket or the address and port that the
// session is with, which is one of several where the settings give several.
func (c *Conn) Address() string { return c.address }

// BackendPid returns the process id of the server's side of the session, as
// pg_stat_activity shows it.
func (c *Conn) BackendPid() int { return int(c.PgConn().PID()) }

// CancelRequest asks the server to cancel the statement that runs, if one does;
// it then fails with 57014 "canceling statement due to user request" and the
// session goes on. It may be called from any goroutine and returns when the
// server has taken note. The runtime calls it on SIGINT. Mirrors
// StatementCancelHandler, and PQcancel.
func (c *Conn) CancelRequest(ctx context.Context) error { return c.PgConn().CancelRequest(ctx) }

// Close says goodbye to the server. The runtime calls it at the end of the
// process; a main function need not. Closing a closed session does nothing.
func (c *Conn) Close(ctx context.Context) error { return c.Conn.Close(ctx) }

// HangUp is Close for a session that may be broken: pgx would keep the socket of
// such a one for up to 15 seconds and read whatever comes.
func (c *Conn) HangUp(ctx context.Context) {
	_ = c.Close(ctx)
	_ = c.PgConn().Conn().Close()
}

// DescribeError turns an error of this session into the report, at ERROR, that
// the log shows when main returns it: the server's own words, SQLSTATE, DETAIL and HINT,
// and in a worker's session the statement, if it was the last that failed. A
// network error counts as the loss of this session (08006) if it is lost.
func (c *Conn) DescribeError(err error) *elog.ErrorData {
	e := AsErrorData(c.wire.explain(err), elog.Error)
	var network *net.OpError
	if e != nil && e.Code == elog.InternalError && c.IsClosed() && errors.As(err, &network) {
		e.Code = elog.ConnectionFailure
	}
	if e != nil && c.tracer != nil {
		e.Statement = cmp.Or(e.Statement, c.tracer.statementOf(err))
	}
	return e
}
