package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// failure words an attempt to open a session that came to nothing, as FATAL.
// Pgx's own error is not wrapped, since it holds the settings with the
// password.
func (c *Config) failure(err error) *elog.ErrorData {
	var server *pgconn.PgError
	var own *elog.ErrorData
	switch {
	case errors.As(err, &server):
		return c.refusal(server)
	case errors.As(err, &own):
		return own
	}
	attempts := attemptsOf(err)
	first := attempts[0]
	code := elog.SQLClientUnableToConnect
	if first.nonsense {
		code = elog.ProtocolViolation
	}
	e := elog.New(elog.Fatal, code, "could not connect to server: %s", first.reason).WithCause(innermost(first.err))
	details := make([]string, 0, len(attempts))
	for _, a := range attempts {
		details = append(details, a.String())
	}
	e.Detail = strings.Join(details, "\n")
	e.Hint = first.hint()
	return e
}

// refusal is what the server itself says, with a HINT where it has none.
func (c *Config) refusal(server *pgconn.PgError) *elog.ErrorData {
	e := fromServer(server, elog.Fatal)
	if e.Hint != "" {
		return e
	}
	switch e.Code {
	case elog.InvalidPassword:
		e.Hint = `Check the password in "server_conninfo", the password file or PGPASSWORD.`
		if c.pgx.Password == "" {
			e.Hint = `No password was found: put one into the password file or "server_conninfo".`
		}
	case elog.TooManyConnections:
		e.Hint = `Each worker with a database connection takes one of the server's "max_connections".`
	case elog.ProtocolViolation:
		if strings.HasPrefix(e.Message, "unsupported startup parameter") {
			e.Hint = "If this is a connection pooler, connect to the server itself, or let the pooler ignore that parameter."
		}
	}
	return e
}

// attempt is one host tried in vain.
type attempt struct {
	err     error
	network string // "unix", "tcp", or "" if there was no address to dial
	where   string
	reason  string
	// nonsense: what answered does not speak PostgreSQL's protocol
	nonsense bool
}

// attemptsOf lists the attempts pgx has made. An attempt with and one without
// TLS at the same address are one if they failed alike, or if the first failed
// for want of TLS: then it was not the last word.
func attemptsOf(err error) []attempt {
	list := []error{err}
	var many interface{ Unwrap() []error }
	var failed *pgconn.ConnectError
	switch {
	case errors.As(err, &many):
		list = many.Unwrap()
	case errors.As(err, &failed):
		list = []error{failed.Unwrap()}
	}
	var attempts []attempt
	for _, one := range list {
		a := attempt{err: one, reason: reasonOf(one)}
		a.network, a.where = placeOf(one)
		a.nonsense = a.reason == invalidResponse
		n := len(attempts)
		switch {
		case n > 0 && attempts[n-1].String() == a.String():
		case n > 0 && attempts[n-1].where == a.where && attempts[n-1].wantsTLS():
			attempts[n-1] = a
		default:
			attempts = append(attempts, a)
		}
	}
	return attempts
}

// wantsTLS reports whether there was no TLS to be had.
func (a attempt) wantsTLS() bool { return strings.HasPrefix(a.reason, "tls error: ") }

// invalidResponse is what libpq says of a server that is none.
const invalidResponse = "received invalid response from the server"

// placeOf takes the address from the head of pgx's text, which is "ADDRESS
// (HOST): what it did: why it failed".
func placeOf(err error) (network, where string) {
	inner := errors.Unwrap(err)
	if inner == nil {
		return "", ""
	}
	place, found := strings.CutSuffix(err.Error(), ": "+inner.Error())
	address, host, ok := strings.Cut(strings.TrimSuffix(place, ")"), " (")
	switch {
	case !found || !ok:
		return "", ""
	case path.IsAbs(address):
		return "unix", fmt.Sprintf("on socket \"%s\"", address)
	}
	ip, port, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		return "", ""
	case ip == host:
		return "tcp", fmt.Sprintf("at \"%s\", port %s", host, port)
	}
	return "tcp", fmt.Sprintf("at \"%s\" (%s), port %s", host, ip, port)
}

// String is a sentence for the DETAIL, in libpq's words.
func (a attempt) String() string {
	reason := a.reason
	if a.nonsense {
		reason += " (" + printable(innermost(a.err)) + ")"
	}
	if a.where == "" {
		return "Connection to server failed: " + reason + "."
	}
	return "Connection to server " + a.where + " failed: " + reason + "."
}

// reasonOf says why an attempt failed, without anything that changes from one
// attempt to the next, so that a caller who repeats it can tell news from none.
func reasonOf(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	var lost *lostConnection
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("could not translate host name \"%s\" to address: %s", dns.Name, dns.Err)
	case pgconn.Timeout(err), errors.Is(err, context.DeadlineExceeded):
		return "timeout expired"
	case errors.As(err, &certificate):
		return certificate.Error()
	case errors.As(err, &lost):
		return lost.Error()
	case isNonsense(err):
		return invalidResponse
	case errors.Is(err, pgconn.ErrReadOnlyConnection):
		return "session is read-only"
	case errors.Is(err, pgconn.ErrReadWriteConnection):
		return "session is not read-only"
	case errors.Is(err, pgconn.ErrPrimaryConnection):
		return "server is not in hot standby mode"
	case errors.Is(err, pgconn.ErrStandbyConnection):
		return "server is in hot standby mode"
	case errors.As(err, &op):
		return elog.OSReason(innermost(op)) // as libpq prints it
	}
	if inner := errors.Unwrap(err); inner != nil {
		if _, where := placeOf(err); where != "" {
			return inner.Error()
		}
	}
	return err.Error()
}

func (a attempt) hint() string {
	var unknown x509.UnknownAuthorityError
	switch {
	case a.network == "unix" && (errors.Is(a.err, syscall.ENOENT) || errors.Is(a.err, syscall.ECONNREFUSED)):
		return "Is the server running locally and accepting connections on that socket?"
	case a.network == "unix" && errors.Is(a.err, syscall.EACCES):
		return "The user who runs the host has no right to the directory of the socket."
	case a.network == "tcp" && errors.Is(a.err, syscall.ECONNREFUSED):
		return "Is the server running on that host and accepting TCP/IP connections?"
	case a.nonsense:
		return "Does something else than a PostgreSQL server listen there?"
	case strings.Contains(a.reason, "server refused TLS connection"):
		return `The server does not offer SSL: turn it on there, or use another "sslmode".`
	case errors.As(a.err, &unknown):
		return `Give the certificate of the server's authority in "sslrootcert".`
	case errors.Is(a.err, pgconn.ErrReadOnlyConnection), errors.Is(a.err, pgconn.ErrReadWriteConnection),
		errors.Is(a.err, pgconn.ErrPrimaryConnection), errors.Is(a.err, pgconn.ErrStandbyConnection):
		return `The connection parameter "target_session_attrs" asks for another kind of server.`
	}
	return ""
}
