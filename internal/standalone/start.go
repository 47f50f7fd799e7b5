package standalone

import (
	"io"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Config says which worker to run, and how. Package plugins knows the types of
// Library and Registration, which this package cannot import.
type Config struct {
	Library      any // a plugins.Library
	Function     string
	Registration any               // a plugins.BackgroundWorker; what it leaves out comes from the library's own
	Conf         func() guc.Config // the configuration: at the start, and at each reload
	Log          io.Writer         // gets each record as one line of jsonlog
	Watch        *Watch
}

// Exit is how a worker has ended.
type Exit struct {
	Code     int
	SQLState elog.SQLState
	Err      error // that main has returned, or the panic as one
	Panic    any   // what main has panicked with, or nil
}

// Process is a worker that runs in this process. Its methods are safe for
// concurrent use.
type Process interface {
	// Signal delivers SIGTERM, SIGINT, SIGHUP, SIGUSR1 or SIGUSR2 to the worker
	// and returns when its handler has run, or the signal is held back. It is
	// ignored once the worker has ended.
	Signal(sig unix.Signal)
	// SetLatch sets the worker's latch.
	SetLatch()
	// Undefined reports whether neither the host nor the library has a setting of
	// that name.
	Undefined(setting string) bool
	// Done is closed when main has returned and its session is closed.
	Done() <-chan struct{}
	// Exit is how the worker has ended, once Done is closed.
	Exit() Exit
}

// Start runs the Init of a library and starts the worker in a goroutine. It
// returns an error if the settings, the Init or the registration are no good.
var Start func(Config) (Process, error)

// WatchOf returns the Watch that a *plugins.Worker runs under, or nil.
var WatchOf func(worker any) *Watch
