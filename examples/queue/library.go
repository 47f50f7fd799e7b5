package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/plugins"
)

// LibraryName is the library's name in shared_preload_libraries.
const LibraryName = "queue"

const mainFunction = "queue_main"

// Job is one attempt at a job, as a handler sees it.
type Job struct {
	ID          int64
	Kind        string
	Payload     json.RawMessage // a JSON value, as queue.enqueue was given it
	Attempt     int             // 1 for the first
	MaxAttempts int
	EnqueuedAt  time.Time
}

// Handler does a job. What it does with tx is committed together with the end of
// the job, if Handler returns nil; otherwise it is rolled back, and the job is
// tried again later. What it does elsewhere it may do several times: the worker
// can die between that and the commit.
//
// Ctx ends when queue.job_timeout is over or the worker has to go; a handler
// that waits for anything but tx has to look at it. Handlers of one process run
// one at a time.
type Handler func(ctx context.Context, tx pgx.Tx, job Job) error

// Handlers are the handlers of a library, by the kind of jobs that they do.
type Handlers map[string]Handler

// Permanent marks the error of a handler as one that further attempts would not
// mend: the job becomes a dead letter at once. It returns nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// library is what the workers of this process work with: the handlers, and the
// readers of the settings.
type library struct {
	handlers Handlers

	database, role             func() string
	pollInterval, claimTimeout func() time.Duration
	jobTimeout, stopTimeout    func() time.Duration
	retryDelay, retryDelayMax  func() time.Duration
	batchSize                  func() int
	functionSchemas            func() string
}

// Library returns the library, to be the whole of a program of its own, or to be
// compiled into a host. Its workers do the jobs that handlers has a handler for,
// and those that are functions of a schema listed in queue.function_schemas.
func Library(handlers Handlers) plugins.Library {
	l := library{handlers: maps.Clone(handlers)}
	return plugins.Library{
		Name:      LibraryName,
		Init:      l.init,
		Functions: plugins.Functions{mainFunction: l.main},
	}
}

// init is _PG_init: it defines the settings and registers the workers.
func (l *library) init(p *plugins.Init) error {
	l.defineConnection(p)
	l.defineTimes(p)
	l.batchSize = p.DefineCustomInt(plugins.IntVariable{
		Name: "queue.batch_size", Description: "Greatest number of jobs that a worker claims at once.",
		Default: 10, Min: 1, Max: 1000,
	})
	if !p.PreloadInProgress() {
		return nil
	}
	workers := p.DefineCustomInt(plugins.IntVariable{
		Name: "queue.workers", Description: "Number of workers, each of which does one job at a time.",
		Default: 2, Min: 1, Max: 100, Context: plugins.PGCPostmaster,
	})
	p.MarkGUCPrefixReserved("queue")
	for i := workers(); i >= 1; i-- { // the last one registered starts first
		p.RegisterBackgroundWorker(plugins.BackgroundWorker{
			Name:         fmt.Sprintf("queue worker %d", i),
			Type:         "queue worker",
			Flags:        plugins.ShmemAccess | plugins.BackendDatabaseConnection,
			StartTime:    plugins.StartAtRecoveryFinished,
			RestartTime:  5,
			LibraryName:  LibraryName,
			FunctionName: mainFunction,
			MainArg:      int64(i),
		})
	}
	return nil
}

func (l *library) defineConnection(p *plugins.Init) {
	l.database = p.DefineCustomString(plugins.StringVariable{
		Name: "queue.database", Description: "Database that has the queue. Empty means that of server_conninfo.",
	})
	l.role = p.DefineCustomString(plugins.StringVariable{
		Name: "queue.role", Description: "Role to do the jobs as. Empty means that of server_conninfo.",
	})
	l.functionSchemas = p.DefineCustomString(plugins.StringVariable{
		Name: "queue.function_schemas", Description: "Schemas whose functions can be jobs.",
		Check: checkSchemas,
	})
}

func (l *library) defineTimes(p *plugins.Init) {
	duration := func(name, description string, value, least, most time.Duration) func() time.Duration {
		return p.DefineCustomDuration(plugins.DurationVariable{Name: name, Description: description, Default: value, Min: least, Max: most})
	}
	const day = 24 * time.Hour
	l.pollInterval = duration("queue.poll_interval", "Time after which a worker looks for jobs that it has not been notified of.",
		10*time.Second, 10*time.Millisecond, time.Hour)
	l.claimTimeout = duration("queue.claim_timeout", "Time after which a job is tried again whose worker has died.",
		time.Minute, 100*time.Millisecond, day)
	l.jobTimeout = duration("queue.job_timeout", "Time that one attempt may take. 0 means no limit.",
		5*time.Minute, 0, 7*day)
	l.stopTimeout = duration("queue.stop_timeout", "Time that the job in hand has to end after SIGTERM.",
		30*time.Second, 0, day)
	l.retryDelay = duration("queue.retry_delay", "Time until the second attempt. It doubles with each further one.",
		5*time.Second, 0, day)
	l.retryDelayMax = duration("queue.retry_delay_max", "Longest time between two attempts.",
		time.Hour, 0, 30*day)
}
