package elog

import (
	"errors"
	"fmt"
	"strings"
)

// ErrorData is one report: an error with what a program needs to decide (level
// and SQLSTATE) and what a person needs to fix it (detail and hint). It mirrors
// PostgreSQL's ErrorData. Treat it as immutable once it has been returned.
type ErrorData struct {
	Level     Level
	Code      SQLState
	Message   string // primary message: lower case, no full stop
	Detail    string // complete sentences, or empty
	Hint      string // complete sentences, or empty
	Context   string // where it happened, or empty
	Statement string // the statement that failed, or empty
	Cause     error  // what it was caused by, for errors.Is and errors.As, or nil
}

// New returns a report, as ereport(level, errcode(code), errmsg(format, …))
// would make one. It does not log anything.
func New(level Level, code SQLState, format string, args ...any) *ErrorData {
	return &ErrorData{Level: level, Code: code, Message: fmt.Sprintf(format, args...)}
}

// WithDetail sets the DETAIL and returns e. Mirrors errdetail.
func (e *ErrorData) WithDetail(format string, args ...any) *ErrorData {
	e.Detail = fmt.Sprintf(format, args...)
	return e
}

// WithHint sets the HINT and returns e. Mirrors errhint.
func (e *ErrorData) WithHint(format string, args ...any) *ErrorData {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithCause sets the wrapped error and returns e.
func (e *ErrorData) WithCause(err error) *ErrorData {
	e.Cause = err
	return e
}

// Error returns the primary message and, where there is one, the detail.
func (e *ErrorData) Error() string {
	if e.Detail == "" {
		return e.Message
	}
	return e.Message + ": " + e.Detail
}

// Unwrap returns the cause.
func (e *ErrorData) Unwrap() error { return e.Cause }

// codeOrDefault returns the code, or the one that PostgreSQL gives a report of
// this level which has none.
func (e *ErrorData) codeOrDefault() SQLState {
	switch {
	case e.Code != "":
		return e.Code
	case e.Level >= Error:
		return InternalError
	case e.Level >= Warning:
		return WarningCode
	}
	return SuccessfulCompletion
}

// SQLState returns the code. The method has the signature of
// pgconn.PgError.SQLState, so that one interface serves both.
func (e *ErrorData) SQLState() string { return string(e.Code) }

// AsErrorData turns any error into a report of the given level. A report found
// in err's chain keeps its texts; another error that knows its SQLSTATE, such
// as pgx's, keeps that; anything else is an internal error (XX000), as elog()
// makes it. It returns nil for nil.
//
// For errors of a session use connect.AsErrorData, which knows the server's
// DETAIL, HINT and CONTEXT: this package does not know pgx.
func AsErrorData(err error, level Level) *ErrorData {
	if err == nil {
		return nil
	}
	if own, ok := err.(*ErrorData); ok { //nolint:errorlint // only the outermost error may keep its texts as they are
		copied := *own
		copied.Level = level
		return &copied
	}
	e := &ErrorData{Level: level, Code: CodeOf(err), Message: err.Error(), Cause: err}
	var own *ErrorData
	if errors.As(err, &own) {
		e.Message = strings.Replace(e.Message, own.Error(), own.Message, 1)
		e.Detail, e.Hint, e.Context, e.Statement = own.Detail, own.Hint, own.Context, own.Statement
	}
	return e
}

// CodeOf returns the SQLSTATE of the first error in err's chain that has one,
// [InternalError] when none has, and [SuccessfulCompletion] for nil.
func CodeOf(err error) SQLState {
	if err == nil {
		return SuccessfulCompletion
	}
	if code, ok := codeIn(err); ok {
		return code
	}
	return InternalError
}

func codeIn(err error) (SQLState, bool) {
	var coded interface{ SQLState() string }
	if errors.As(err, &coded) && len(coded.SQLState()) == 5 {
		return SQLState(coded.SQLState()), true
	}
	return "", false
}
