package control

import (
	"time"

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
)

// Request is what a client asks.
type Request struct {
	Op     string
	Target string  // of why and terminate: a name, a pid or a handle
	Launch *Launch // of launch
	Wait   bool    // of launch: until it has started; of terminate: until it is gone
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

// Answer is the one reason why a worker does not run, or since when it does.
type Answer struct {
	Name    string
	Running bool
	Reason  string // a phrase that begins with the worker
	Detail  string // what it is doing, or the error that ended it last; or empty
	Hint    string
}
