package connect

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// SQLState returns the SQLSTATE of an error: the server's own; class 08 for a
// connection that could not be made or was lost; 57014 for a context that
// ended; XX000 for anything else, and 00000 for nil.
func SQLState(err error) elog.SQLState {
	code := elog.CodeOf(err)
	if err == nil || code != elog.InternalError {
		return code
	}
	var failed *pgconn.ConnectError
	switch {
	case errors.Is(err, pgconn.ErrConnClosed):
		return elog.ConnectionDoesNotExist
	case errors.As(err, &failed):
		return elog.SQLClientUnableToConnect
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return elog.QueryCanceled
	}
	return code
}

// IsServerEvent reports whether err tells of an event of the server rather than
// of a failure of the worker: a connection lost or not made (class 08), a
// shutdown (57P01), a crash (57P02), a server that does not accept sessions at
// present (57P03) or has no room for one (53300). The host starts such a worker
// again once the server is back. 57P01 is also what pg_terminate_backend makes
// of one session of a healthy server; only the host can tell these apart.
func IsServerEvent(err error) bool { return SQLState(err).IsServerEvent() }

// IsConnectionLost reports whether err means that there is no connection any
// more, or never was (class 08).
func IsConnectionLost(err error) bool {
	return SQLState(err).Class() == elog.ConnectionException.Class()
}

// IsStatementCancelled reports whether the statement was cancelled (57014): by
// SIGINT to the worker, by pg_cancel_backend, by statement_timeout, or because
// its context ended, which only the context knows: see the example of Conn. The
// session has survived it.
func IsStatementCancelled(err error) bool { return SQLState(err) == elog.QueryCanceled }

// IsAdminShutdown reports whether the server ended the session on somebody's
// command (57P01): by its own shutdown or by pg_terminate_backend.
func IsAdminShutdown(err error) bool { return SQLState(err) == elog.AdminShutdown }

// IsSerializationFailure reports whether the transaction may succeed if it is
// simply run again (40001, 40P01).
func IsSerializationFailure(err error) bool {
	code := SQLState(err)
	return code == elog.SerializationFailure || code == elog.DeadlockDetected
}

// AsErrorData turns an error into a report of the given level, as
// elog.AsErrorData does, but knows pgx's errors: the server's own words and
// SQLSTATE, with DETAIL, HINT and CONTEXT, and no trace of how pgx prints them.
// It returns nil for nil.
func AsErrorData(err error, level elog.Level) *elog.ErrorData {
	e := elog.AsErrorData(err, level)
	var own *elog.ErrorData
	if e == nil || errors.As(err, &own) {
		return e
	}
	e.Code = SQLState(err)
	var server *pgconn.PgError
	if errors.As(err, &server) {
		e.Message = strings.Replace(err.Error(), server.Error(), server.Message, 1)
		e.Detail, e.Hint, e.Context, e.Cause = server.Detail, server.Hint, server.Where, err
	}
	return e
}

// fromServer is AsErrorData without whatever pgx has wrapped around the error:
// that may hold the connection settings.
func fromServer(e *pgconn.PgError, level elog.Level) *elog.ErrorData { return AsErrorData(e, level) }

// endsSession reports whether the server closes the session after this error.
// The severity proper is translated into the server's language.
func endsSession(e *pgconn.PgError) bool {
	severity := e.SeverityUnlocalized
	if severity == "" {
		severity = e.Severity
	}
	return severity == "FATAL" || severity == "PANIC"
}
