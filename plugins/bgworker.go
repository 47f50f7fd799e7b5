package plugins

import (
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// Sizes of PostgreSQL's bgworker.h and pg_config_manual.h, in bytes. Name
// lengths include the terminating NUL of the C string, so one byte less is
// usable.
const (
	BGWMaxLen   = shmem.NameSize  // of a worker's name, type and function name
	BGWExtraLen = shmem.ExtraSize // of BackgroundWorker.Extra
	MaxPGPath   = shmem.PathSize  // of a library name
	NameDataLen = 64              // of an identifier of the server
)

// Restart intervals, in seconds.
const (
	// DefaultRestartInterval is BGW_DEFAULT_RESTART_INTERVAL.
	DefaultRestartInterval = 60
	// NeverRestart is BGW_NEVER_RESTART: whatever way the worker ends, it is
	// unregistered.
	NeverRestart = -1
	// MaxRestartInterval is the largest legal interval: USECS_PER_DAY / 1000,
	// which bgworker.c compares against seconds.
	MaxRestartInterval = 86_400_000
)

// Flags says what a worker needs of the host. Mirrors bgw_flags.
type Flags uint32

// The registration flags of bgworker.h.
const (
	// ShmemAccess asks for shared memory: latches, slots, activity reporting.
	// It is required.
	ShmemAccess Flags = 0x0001
	// BackendDatabaseConnection asks for the right to call
	// connect.InitializeConnection.
	BackendDatabaseConnection Flags = 0x0002
	// Interruptible lets commands that need the worker's database for themselves
	// terminate it: DROP DATABASE, ALTER DATABASE RENAME and SET TABLESPACE, and
	// CREATE DATABASE with it as template. Without it they fail as long as the
	// worker is connected. PostgreSQL 19.
	Interruptible Flags = 0x0004
	// ClassParallel counts the worker against max_parallel_workers.
	ClassParallel Flags = 0x0010
)

// StartTime is the state of the real server at which a worker may start.
// Mirrors BgWorkerStartTime. A worker is never stopped because the server
// leaves that state.
type StartTime int32

// The start times of bgworker.h.
const (
	// StartAtPostmasterStart starts the worker with the host itself, whether
	// or not the server can be reached. Not for workers with a database
	// connection.
	StartAtPostmasterStart StartTime = iota
	// StartAtConsistentState starts the worker as soon as the server accepts
	// connections, be it as a hot standby.
	StartAtConsistentState
	// StartAtRecoveryFinished starts the worker once the server accepts
	// writes.
	StartAtRecoveryFinished
)

// String returns the word the SQL surface and the command line use.
func (s StartTime) String() string {
	switch s {
	case StartAtPostmasterStart:
		return "postmaster"
	case StartAtConsistentState:
		return "consistent"
	case StartAtRecoveryFinished:
		return "running"
	}
	return "unknown"
}

// BackgroundWorker describes one worker: what runs, when it starts, and what
// happens when it ends. Mirrors the struct of that name; there is no bgw_main,
// because a function pointer means nothing in another process.
type BackgroundWorker struct {
	// Name is shown in log messages, process listings and, as
	// application_name, in the server's pg_stat_activity.
	Name string
	// Type groups workers of one kind; a copy of Name when left empty.
	Type string
	// Flags must contain ShmemAccess, unless compat_version is 12 or 13: without
	// it the worker has no shared memory, no session, no dynamic workers, and
	// nobody sees what it is doing.
	Flags Flags
	// StartTime is when the worker may start. Left out, it is
	// StartAtPostmasterStart, which a worker with a database connection is
	// refused for.
	StartTime StartTime
	// RestartTime is how many seconds to wait before the worker is started
	// again after it ended with an error: 0 to MaxRestartInterval, or
	// NeverRestart. Left out, it is 0: at once, and as often as it fails. A
	// worker that returns nil is never restarted.
	RestartTime int
	// LibraryName is the library that holds the function; "postgres" means the
	// internal entry points.
	LibraryName string
	// FunctionName is the function of LibraryName to run.
	FunctionName string
	// MainArg is at the disposal of the function. Mirrors bgw_main_arg, a
	// 64-bit Datum.
	MainArg int64
	// Extra is at the disposal of the function, for what does not fit MainArg.
	// TextExtra makes it from a text; copy would cut what is longer.
	Extra [BGWExtraLen]byte
	// NotifyPid is the process to send SIGUSR1 to when the worker starts and
	// when it exits. Dynamic registration only.
	NotifyPid int

	request int64 // see Request
}

// Request returns the number that [Worker.RegisterHeldBackgroundWorker] was given
// with the registration, or 0 for one that was made otherwise. The worker finds
// its own in its Entry.
func (w BackgroundWorker) Request() int64 { return w.request }

// SanityCheck applies bgworker.c's SanityCheckBackgroundWorker, in its order,
// and fills in an empty Type. It returns nil or an *elog.ErrorData with level
// ERROR whose message names the worker; static registration reports it at LOG.
//
// Beyond PostgreSQL's checks it refuses, also with 22023, names that do not
// fit: C truncates them silently.
//
// It checks by the rules of PostgreSQL 18; see [BackgroundWorker.SanityCheckAs].
func (w *BackgroundWorker) SanityCheck() error { return w.SanityCheckAs(Postgres18) }

// SanityCheckAs is SanityCheck by the rules of another version.
func (w *BackgroundWorker) SanityCheckAs(p Personality) error {
	if e := w.flaw(p.traits()); e != nil {
		return e
	}
	if w.Type == "" {
		w.Type = w.Name
	}
	return nil
}

func (w *BackgroundWorker) flaw(t traits) *elog.ErrorData {
	refuse := func(what string) *elog.ErrorData {
		return elog.New(elog.Error, elog.InvalidParameterValue, "background worker \"%s\": %s", w.Name, what)
	}
	switch {
	case w.Flags&ShmemAccess == 0 && !t.sharedMemoryIsOptional:
		return refuse("background workers without shared memory access are not supported")
	case w.Flags&(ShmemAccess|BackendDatabaseConnection) == BackendDatabaseConnection:
		return refuse("must attach to shared memory in order to request a database connection")
	case w.Flags&BackendDatabaseConnection != 0 && w.StartTime == StartAtPostmasterStart:
		return refuse("cannot request database access if starting at postmaster start").
			WithHint("Set StartTime to StartAtConsistentState or StartAtRecoveryFinished.")
	case w.Flags&BackendDatabaseConnection == 0 && w.Flags&Interruptible != 0:
		return refuse("cannot make background workers interruptible without database access")
	case w.RestartTime < 0 && w.RestartTime != NeverRestart, w.RestartTime > MaxRestartInterval:
		return refuse("invalid restart interval")
	case w.RestartTime != NeverRestart && w.Flags&ClassParallel != 0:
		return refuse("parallel workers may not be configured for restart")
	case w.StartTime < StartAtPostmasterStart, w.StartTime > StartAtRecoveryFinished:
		return refuse("invalid start time")
	}
	return w.oversize(t, refuse)
}

func (w *BackgroundWorker) oversize(t traits, refuse func(string) *elog.ErrorData) *elog.ErrorData {
	for _, f := range [...]struct {
		what, value string
		size        int
	}{
		{"name", w.Name, BGWMaxLen},
		{"type", w.Type, BGWMaxLen},
		{"library name", w.LibraryName, t.libraryNameSize},
		{"function name", w.FunctionName, BGWMaxLen},
	} {
		if len(f.value) >= f.size {
			return refuse(f.what+" is too long").WithDetail("It has %d bytes; at most %d are allowed.", len(f.value), f.size-1)
		}
		if strings.IndexByte(f.value, 0) >= 0 {
			return refuse(f.what + " contains a null byte")
		}
	}
	return nil
}

// Descriptor returns the worker as the slot array of shared memory stores it.
func (w *BackgroundWorker) Descriptor() shmem.Descriptor {
	return shmem.Descriptor{
		Name: w.Name, Type: w.Type, Library: w.LibraryName, Function: w.FunctionName,
		Flags: uint32(w.Flags), StartTime: int32(w.StartTime), RestartTime: int32(w.RestartTime),
		MainArg: w.MainArg, Extra: w.Extra, NotifyPid: int32(w.NotifyPid), Request: w.request,
	}
}

// FromDescriptor is the inverse of Descriptor. The result comes from shared
// memory, so nothing about it may be taken for granted except that its strings
// are bounded and ASCII-safe.
func FromDescriptor(d shmem.Descriptor) BackgroundWorker {
	return BackgroundWorker{
		Name: d.Name, Type: d.Type, LibraryName: d.Library, FunctionName: d.Function,
		Flags: Flags(d.Flags), StartTime: StartTime(d.StartTime), RestartTime: int(d.RestartTime),
		MainArg: d.MainArg, Extra: d.Extra, NotifyPid: int(d.NotifyPid), request: d.Request,
	}
}
