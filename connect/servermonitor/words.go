package servermonitor

import (
	"strings"

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
	reason string
	detail string
	hint   string
}

func classify(err error) failure {
	e := connect.AsErrorData(err, elog.Log)
	f := failure{state: shmem.ServerUnreachable, detail: e.Detail, hint: e.Hint}
	f.reason = strings.TrimPrefix(e.Message, "could not connect to server: ")
	switch {
	case e.Code == elog.CannotConnectNow:
		f.kind, f.state = starting, shmem.ServerStarting
	case !connect.IsServerEvent(err):
		f.kind = refused
	}
	return f
}

func acceptingReport(state shmem.ServerState, f Facts) *elog.ErrorData {
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
