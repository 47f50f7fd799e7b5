package control

import (
	"time"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// SocketName is the name of the control server's socket in a data directory.
const SocketName = ".s.pgexthost"

// What a request asks for.
const (
	OpPs        = "ps"
	OpWhy       = "why"
	OpLaunch    = "launch"
	OpTerminate = "terminate"
	OpReload    = "reload library"
)

// Request is what a client asks.
type Request struct {
	Op     string
	Target string  // of why and terminate: a name, a pid or a handle; of reload: a library
	Launch *Launch // of launch
	Wait   bool    // of launch: until it has started; of terminate: until it is gone; of reload: always

	Limit time.Duration // of reload: how long to wait
}

// Launch describes a dynamic worker to be registered.
type Launch struct {
	Library, Function string
	Name, Type        string // empty: made from the function's name
	Arg               int64
	Extra             string
	RestartTime       int
	Start             plugins.StartTime
	Database          bool // it may connect to the server
}

// Response is what the server answers.
type Response struct {
	Error      *elog.ErrorData // why it could not be done, or nil
	Workers    []Worker        // of ps
	Answers    []Answer        // of why
	Pid        int             // of launch with Wait
	Handle     string          // of launch
	Terminated []Worker        // of terminate
	Reloaded   *Reloaded       // of reload
}

// Worker is a row of ps. The names in JSON are part of the command line's
// contract.
type Worker struct {
	Slot        int        `json:"slot"`
	Generation  uint64     `json:"generation"`
	Pid         int        `json:"pid"` // 0: no process
	Name        string     `json:"name"`
	Type        string     `json:"type"`
	Library     string     `json:"library"`
	Function    string     `json:"function"`
	State       string     `json:"state"`
	Database    string     `json:"database"`
	WaitEvent   string     `json:"wait_event"` // "Class:Name", or empty
	Activity    string     `json:"activity"`   // "active", "idle" or "idle in transaction", or empty
	Query       string     `json:"query"`      // the statement that it runs or ran last, or empty
	StartedAt   *time.Time `json:"started_at"`
	Restarts    int        `json:"restarts"`
	LastExit    string     `json:"last_exit"` // as the log says it, or empty
	NextStart   *time.Time `json:"next_start"`
	LastExitAt  *time.Time `json:"last_exit_at"`
	LastError   string     `json:"last_error"`
	LastErrCode string     `json:"last_sqlstate"`
}

// Reloaded is what has come of a reload. The names in JSON are part of the command
// line's contract.
type Reloaded struct {
	Library   string           `json:"library"`
	Preloaded bool             `json:"preloaded"`
	Was       *Build           `json:"was"` // null: it was not loaded, or is not preloaded
	Is        Build            `json:"is"`
	Complete  bool             `json:"complete"` // nobody is to be waited for any more
	Workers   []WorkerOutcome  `json:"workers"`
	Settings  []guc.Change     `json:"settings"`
	Warnings  []ReloadedNotice `json:"warnings"`
}

// WorkerOutcome is what has become of a worker in a reload.
type WorkerOutcome struct {
	Name    string  `json:"name"`
	State   Outcome `json:"state"`
	Changed bool    `json:"changed"` // its registration is another
	WasPid  int     `json:"was_pid"` // of its process before, or 0
	Pid     int     `json:"pid"`     // of its process now, or 0
	Reason  string  `json:"reason"`  // why it does not run, if so
}

// Outcome is what has become of a worker.
type Outcome string

// The outcomes. The first two are to be waited for.
const (
	OutcomeDraining  Outcome = "draining"  // its process goes on
	OutcomeEnding    Outcome = "ending"    // likewise, and it will be unregistered
	OutcomeRestarted Outcome = "restarted" // it has another process
	OutcomeStarted   Outcome = "started"   // it had none, and has one
	OutcomeWaiting   Outcome = "waiting"   // it has none: see Reason
	OutcomeNew       Outcome = "new"       // it was not registered before
	OutcomeRefused   Outcome = "refused"   // it could not be registered
	OutcomeDone      Outcome = "done"      // it has ended for good by itself
	OutcomeGone      Outcome = "gone"      // it is not registered any more
	OutcomeKept      Outcome = "kept"      // it goes on with what it runs from
)

// ReloadedNotice is a warning.
type ReloadedNotice struct {
	Message string `json:"message"`
	Detail  string `json:"detail"`
	Hint    string `json:"hint"`
}

// Answer is the one reason why a worker does not run, or since when it does.
type Answer struct {
	Name    string
	Running bool
	Reason  string // a phrase that begins with the worker
	Detail  string // what it is doing, or the error that ended it last; or empty
	Hint    string
}
