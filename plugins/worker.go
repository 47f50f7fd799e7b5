package plugins

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/standalone"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// Worker is the process a main function runs in: its entry, its latch, its
// signals, its log. There is one per process. All methods are safe for
// concurrent use unless they say otherwise.
type Worker struct {
	entry    BackgroundWorker
	kind     shmem.ProcKind
	segment  *shmem.Segment // nil: the worker was registered without ShmemAccess
	proc     shmem.ProcRecord
	latch    shmem.Latch
	alarm    *shmem.Alarm
	log      *elog.Logger
	settings *ownSettings
	loader   *loader

	postmasterPid int               // 0: there is none
	watch         *standalone.Watch // of the test that it runs in, or nil
	end           func(code int)    // ends the process: os.Exit, but for a worker that has none of its own

	ctx    context.Context // ends on SIGTERM and on postmaster death
	cancel context.CancelCauseFunc

	waiting        sync.Mutex // held by the one goroutine inside WaitLatch
	postmasterDead chan struct{}
	declareDead    sync.Once

	signals      signalTable
	reload       atomic.Bool // ConfigReloadPending
	shutdown     atomic.Bool // ShutdownRequestPending
	dying        atomic.Bool // the default SIGTERM handler ran
	activityLock sync.Mutex  // activity reports come from one goroutine at a time
	critical     sync.Mutex  // held by whoever may hold a lock of shared memory, or owes the postmaster the news of what it did there
	session      sessionState
	lastWords    sync.Once // the FATAL line of a SIGTERM
	exiting      sync.Once
}

// Entry returns a copy of the registration the worker was started from.
// Mirrors MyBgworkerEntry.
func (w *Worker) Entry() BackgroundWorker { return w.entry }

// Pid returns the process id of this process. Mirrors MyProcPid.
func (w *Worker) Pid() int { return os.Getpid() }

// PostmasterPid returns the process id of the host, or 0 if the worker runs
// without one.
func (w *Worker) PostmasterPid() int { return w.postmasterPid }

// Logf writes one line to the host's log, as elog(level, …) does. Levels at and
// above ERROR are only written, too: a main function that wants to end returns
// an error.
func (w *Worker) Logf(level elog.Level, format string, args ...any) {
	w.log.Logf(level, format, args...)
}

// Ereport writes a report with its DETAIL and HINT to the host's log.
func (w *Worker) Ereport(e *elog.ErrorData) { w.log.Emit(e) }

// Slog returns a logger of package slog that writes to the host's log:
// elog.NewHandler says how levels and attributes come out. It is what
// slog.Default returns in a worker's process, and where package log goes, unless
// the library has set another.
func (w *Worker) Slog() *slog.Logger { return slog.New(elog.NewHandler(w.log)) }

// SetLatch sets the process's own latch: the present or the next WaitLatch
// returns. Mirrors SetLatch(MyLatch).
func (w *Worker) SetLatch() { w.latch.Set() }

// ResetLatch clears the process's latch. Call it after WaitLatch and before
// looking at what there is to do, never in between. Mirrors ResetLatch(MyLatch).
func (w *Worker) ResetLatch() { w.latch.Reset() }

// ReportActivity publishes what the worker does, for WorkerInfo, "pgexthost why"
// and "ps --json", and for the log line of a crash. A session of package connect
// reports its statements by itself; workers without one, or between statements,
// may call this. Mirrors pgstat_report_activity.
func (w *Worker) ReportActivity(state ActivityState, query string) {
	w.activityLock.Lock()
	defer w.activityLock.Unlock()
	w.proc.ReportActivity(state, query)
}

// ActivityState is what a worker reports to be doing.
type ActivityState = shmem.ActivityState

// The states of ReportActivity.
const (
	StateIdle              = shmem.ActivityIdle
	StateRunning           = shmem.ActivityRunning
	StateIdleInTransaction = shmem.ActivityIdleInTransaction
)

// ShowSetting returns the value of a setting of the host or of a loaded
// library, as SHOW prints it. It returns an error with SQLSTATE 42704 if there
// is none of that name.
func (w *Worker) ShowSetting(name string) (string, error) { return w.settings.store.Show(name) }

// ConfigReloadPending reports whether SIGHUP has arrived since the last call,
// if SignalHandlerForConfigReload was installed for it, and forgets it.
func (w *Worker) ConfigReloadPending() bool { return w.reload.Swap(false) }

// ProcessConfigFile reads the configuration files again and gives every
// setting that may change while running its new value. What is wrong in them
// is logged; the settings keep their values then. Mirrors
// ProcessConfigFile(PGC_SIGHUP).
func (w *Worker) ProcessConfigFile() { w.settings.reload() }

// ShutdownRequestPending reports whether SIGTERM has arrived, if
// SignalHandlerForShutdownRequest was installed for it.
func (w *Worker) ShutdownRequestPending() bool { return w.shutdown.Load() }

// PostmasterIsAlive reports whether the host still lives.
func (w *Worker) PostmasterIsAlive() bool {
	select {
	case <-w.postmasterDead:
		return false
	default:
		return true
	}
}

// SetServerState publishes what an auxiliary process has found out about the
// real server, and wakes the postmaster. Only the server monitor calls it.
// Started is pg_postmaster_start_time(), or zero.
func (w *Worker) SetServerState(state shmem.ServerState, started time.Time) {
	failpoint.Here(failpoint.ServerStateFound)
	w.segment.SetServerState(w.alarm, state, started)
	failpoint.Here(failpoint.ServerStateTold)
}

// SetServerNews publishes why the server cannot be used, or "" if it can. Only
// the server monitor calls it.
func (w *Worker) SetServerNews(text string) { w.segment.SetServerNews(text) }

// SetSessions publishes how many SQL sessions clients have. Only the gateway calls
// it, from one goroutine at a time: a smart shutdown waits for them.
func (w *Worker) SetSessions(n int) { w.segment.SetSessions(w.alarm, os.Getpid(), n) }

// CountSession counts a client's session. Only the gateway calls it.
func (w *Worker) CountSession() { w.segment.CountSession() }

// RefusesSessions reports whether the host is stopping and wants no new sessions
// of clients. It may be called by any goroutine.
func (w *Worker) RefusesSessions() bool { return w.segment.RefusesSessions() }

// ErrPostmasterDied is the cause of the end of a worker's context when the
// host is gone.
var ErrPostmasterDied = elog.New(elog.Fatal, elog.AdminShutdown, "terminating background worker because the postmaster died")
