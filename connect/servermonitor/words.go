package servermonitor

import (
	"errors"
	"io"
	"strings"
	"syscall"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// failureKind says what the next attempt may expect.
type failureKind int

const (
	away     failureKind = iota // the server does not answer, or has no room
	starting                    // it answers that it accepts no sessions yet, or no more
	refused                     // it answers, and what it says will be the same next time
)

// failure is why the server cannot be used.
type failure struct {
	kind   failureKind
	state  shmem.ServerState
	topic  string // reasons with the same one are no news to each other
	reason string
	detail string
	hint   string
}

func classify(err error) failure {
	e := connect.AsErrorData(err, elog.Log)
	f := failure{state: shmem.ServerUnreachable, detail: e.Detail, hint: e.Hint}
	f.reason = strings.TrimPrefix(e.Message, "could not connect to server: ")
	f.topic = f.reason
	switch {
	case e.Code == elog.CannotConnectNow:
		f.kind, f.state = starting, shmem.ServerStarting
	case notThere(err):
		f.topic = "not there"
	case e.Code == elog.ProtocolViolation, !connect.IsServerEvent(err):
		f.kind = refused
	}
	return f
}

// news is the failure in one sentence, which says where if that is known.
func (f failure) news() string {
	if strings.Contains(f.detail, f.reason) {
		return f.detail
	}
	return f.reason
}

// notThere reports whether nobody listens where the server should. A server that
// starts or stops goes through several of these in a moment.
func notThere(err error) bool {
	for _, errno := range []error{syscall.ENOENT, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF} {
		if connect.IsConnectionLost(err) && errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func acceptingReport(state shmem.ServerState, f facts) *elog.ErrorData {
	what := "read-write"
	if state == shmem.ServerStandby {
		what = "read-only"
	}
	return elog.New(elog.Log, elog.SuccessfulCompletion, "server is accepting %s connections", what).
		WithDetail("Connected to PostgreSQL %s %s.", f.Version, f.Where)
}

func lostReport(f failure) *elog.ErrorData {
	e := elog.New(elog.Log, elog.SuccessfulCompletion, "lost connection to the server: %s", f.reason)
	e.Detail = f.detail
	return e
}

func waitingReport(f failure) *elog.ErrorData {
	what := "waiting for the server"
	if f.kind == refused {
		what = "cannot connect to the server"
	}
	e := elog.New(elog.Log, elog.SuccessfulCompletion, "%s: %s", what, f.reason)
	e.Detail, e.Hint = f.detail, f.hint
	return e
}

// roomReport says why workers end that nobody has terminated by name.
func roomReport(n int, databaseOID uint32) *elog.ErrorData {
	workers := "worker"
	if n > 1 {
		workers = "workers"
	}
	return elog.New(elog.Log, elog.SuccessfulCompletion, "terminating %d interruptible background %s connected to database with OID %d", n, workers, databaseOID).
		WithDetail("A command needs the database for itself.")
}
