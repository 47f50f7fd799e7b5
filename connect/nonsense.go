package connect

import (
	"errors"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// What a server may send before it is known to be one: whatever else listens at
// the port must not fill the memory, for which five bytes would be enough. They
// are the length of a message, and the sum of what comes in answer to one of
// ours. A probe never trusts the server.
const (
	longestMessage = 64 << 10
	longestAnswer  = 1 << 20
	// longestTrusted is the server's own limit, MaxAllocSize.
	longestTrusted = 1<<30 - 1
)

var errTooMuch = errors.New("more data than expected")

// tooMuch counts what has come since the last message of ours.
func (w *wire) tooMuch(n int) bool {
	return !w.trusted.Load() && w.received.Add(int64(n)) > longestAnswer
}

// trust lifts the limits.
func (w *wire) trust(f *pgproto3.Frontend) {
	w.trusted.Store(true)
	f.SetMaxBodyLen(longestTrusted)
}

// unexpectedAnswer is an answer that is well-formed, but none to what was asked.
func unexpectedAnswer() *elog.ErrorData {
	return elog.New(elog.Fatal, elog.ProtocolViolation, "server sent an unexpected answer").
		WithHint("Does something else than a PostgreSQL server listen there?")
}

// orUnexpected words the failure of an exchange on an open session that is
// neither the server's word, nor ours, nor the network's: pgx did not understand
// the answer, and may say no more than that it has closed the connection.
func orUnexpected(err error) error {
	var server *pgconn.PgError
	var own *elog.ErrorData
	var lost *lostConnection
	if errors.As(err, &server) || errors.As(err, &own) || errors.As(err, &lost) || pgconn.Timeout(err) {
		return err
	}
	return unexpectedAnswer().WithCause(err)
}

// isNonsense reports whether an attempt to open a session failed because what
// came was not PostgreSQL's protocol. Pgx has no type for that, only words.
func isNonsense(err error) bool {
	var server *pgconn.PgError
	var lost *lostConnection
	if errors.As(err, &server) || errors.As(err, &lost) {
		return false
	}
	text := err.Error()
	return strings.Contains(text, "failed to receive message: ") || strings.Contains(text, "received unexpected message") ||
		strings.Contains(text, "protocol error: ")
}

// printable returns an error's text as it can be shown: pgx quotes bytes of
// nonsense as they are.
func printable(err error) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, err.Error())
}
