package plugins

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

func newWorker(kind shmem.ProcKind, entry BackgroundWorker, segment *shmem.Segment, proc shmem.ProcRecord) *Worker {
	w := &Worker{
		entry: entry, segment: segment, proc: proc, kind: kind, latch: proc.Latch(), end: os.Exit,
		postmasterDead: make(chan struct{}),
	}
	if segment != nil {
		w.postmasterPid = segment.PostmasterPid()
	}
	w.ctx, w.cancel = context.WithCancelCause(context.Background())
	context.AfterFunc(w.ctx, w.latch.Kick)
	return w
}

// watchLifeline waits for the postmaster's death: nobody ever writes to the
// pipe, and the host alone holds its other end.
func (w *Worker) watchLifeline(lifeline *os.File) {
	var b [1]byte
	for {
		if _, err := lifeline.Read(b[:]); err != nil {
			w.notePostmasterDeath()
			return
		}
	}
}

// run does what the process was started for, and exits.
func (c *child) run() {
	preload := c.startup.Preload
	if c.worker.kind == shmem.ProcPreload {
		c.runPreload(preload)
		return
	}
	_ = c.socket.Close()
	err := c.runMain(preload)
	failpoint.Here(failpoint.MainReturned)
	code := c.worker.conclude(err)
	c.worker.closeSession() // here, where main is surely not using it
	c.worker.exit(code)
}

// runMain finds the process's main function and runs it to its end.
func (c *child) runMain(preload []string) error {
	if c.startup.Auxiliary != "" {
		main, ok := registeredAuxiliary(c.startup.Auxiliary)
		if !ok {
			return elog.New(elog.Fatal, elog.InternalError, "auxiliary process \"%s\" not found", c.startup.Auxiliary)
		}
		return c.worker.supervise(entryPoint{main: main})
	}
	if c.startup.Worker == nil {
		return elog.New(elog.Fatal, elog.InternalError, "unable to find bgworker entry")
	}
	c.delayStart()
	c.detach()
	if err := c.loader.preloadAll(preload); err != nil {
		return err
	}
	failpoint.Here(failpoint.Preloaded)
	entry, err := c.loader.lookupFunction(c.worker.entry.LibraryName, c.worker.entry.FunctionName)
	if err != nil {
		return err
	}
	if err := c.gate.pass(c.worker); err != nil {
		return err
	}
	if err := c.gate.recordBeginning(c.worker); err != nil {
		return err
	}
	c.worker.countLaunch(c.startup.Ready)
	return c.worker.supervise(entry)
}

// delayStart gives a developer time to attach a debugger, with SIGTERM, SIGINT
// and SIGHUP held back. Mirrors what StartBackgroundWorker does for
// post_auth_delay.
func (c *child) delayStart() {
	if delay := c.worker.settings.store.Duration(settings.PostAuthDelay); delay > 0 {
		select {
		case <-time.After(delay):
		case <-c.worker.postmasterDead:
		}
	}
}

// preloadAll loads the libraries of shared_preload_libraries, as every exec'd
// process does, and then settles the settings of the start.
func (l *loader) preloadAll(names []string) error {
	for _, name := range names {
		if _, err := l.loadAs(name, true); err != nil {
			return err
		}
	}
	l.settings.store.EndStartup()
	return nil
}

// errGoexit says that main left its goroutine without returning.
var errGoexit = errors.New("the worker's main function called runtime.Goexit")

// supervise runs main in a goroutine of its own and returns what became of it:
// its error, or its panic as one.
func (w *Worker) supervise(entry entryPoint) error {
	failpoint.Here(failpoint.Unready)
	if !entry.manualSignals {
		w.UnblockSignals()
	}
	failpoint.Here(failpoint.Ready)
	result := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() {
			if cause := recover(); cause != nil {
				err = panicked("panic", cause)
			}
			result <- err
		}()
		err = entry.main(w.ctx, w)
	}()
	return <-result
}

// panicked turns what was recovered into an error, which keeps its SQLSTATE if
// it had one, with the stack as its DETAIL.
func panicked(what string, cause any) *elog.ErrorData {
	code := elog.InternalError
	if err, ok := cause.(error); ok {
		code = elog.CodeOf(err)
	}
	stack := strings.TrimSuffix(string(debug.Stack()), "\n")
	return elog.New(elog.Error, code, "%s: %v", what, cause).WithDetail("%s", stack).WithCause(recovered{cause})
}

// recovered is what a panic was caused by, as an error.
type recovered struct{ value any }

func (r recovered) Error() string { return fmt.Sprint(r.value) }

// Unwrap returns the cause if it is an error.
func (r recovered) Unwrap() error {
	err, _ := r.value.(error)
	return err
}

// panicValue returns what main has panicked with to make supervise return err, or
// nil. Only supervise's own error is looked into: main's may be unusable.
func panicValue(err error) any {
	data, ok := err.(*elog.ErrorData) //nolint:errorlint // see above
	if !ok || data == nil {
		return nil
	}
	if r, ok := data.Cause.(recovered); ok { //nolint:errorlint // see above
		return r.value
	}
	return nil
}

// conclude reports how main has ended and returns the exit code.
func (w *Worker) conclude(err error) int {
	switch {
	case !w.PostmasterIsAlive():
		return 1
	case w.dying.Load() && w.kind != shmem.ProcWorker:
		return 0 // auxiliary processes end quietly, as PostgreSQL's do
	case w.dying.Load():
		w.reportDeath()
		return 1
	case err == nil:
		return 0
	}
	report := w.describe(err)
	w.proc.SetExitError(string(report.Code), strings.TrimSuffix(report.Message, " (SQLSTATE "+string(report.Code)+")"))
	failpoint.Here(failpoint.ExitErrorLeft)
	w.log.Emit(report)
	return 1
}

// describe turns the error of a main function into what the log shows: at
// ERROR, or at FATAL if it is one, with its SQLSTATE.
func (w *Worker) describe(err error) (report *elog.ErrorData) {
	defer func() {
		if cause := recover(); cause != nil { // a nil *ErrorData, or an Error method that panics
			report = panicked("the worker's main function returned an unusable error", cause)
		}
	}()
	level := elog.Error
	var data *elog.ErrorData
	if errors.As(err, &data) && data.Level >= elog.Fatal {
		level = data.Level
	}
	report = elog.AsErrorData(err, level)
	if session := w.session.current(); session != nil && data == nil {
		report = session.DescribeError(err)
	}
	if w.loader != nil {
		explainLimit(report, err, w.loader.asked)
	}
	if report.Code == "" {
		report.Code = elog.InternalError
	}
	report.Message += " (SQLSTATE " + string(report.Code) + ")"
	return report
}

func (w *Worker) adminShutdown() *elog.ErrorData {
	return elog.New(elog.Fatal, elog.AdminShutdown, "terminating background worker \"%s\" due to administrator command", w.entry.Type)
}

// reportDeath logs, once, that SIGTERM ends the worker. It leaves no SQLSTATE in
// the process record: 57P01 there means that the server ended the session.
func (w *Worker) reportDeath() {
	w.lastWords.Do(func() {
		if w.kind == shmem.ProcWorker {
			w.log.Emit(w.adminShutdown())
		}
	})
}

// dieNow ends a process whose main function does not return after SIGTERM.
func (w *Worker) dieNow() {
	time.AfterFunc(time.Second, func() { w.exit(1) }) // if nobody reads the log
	w.reportDeath()
	w.exit(1)
}

// exit ends the process in an orderly way. Only the first call counts; others
// wait for the end.
func (w *Worker) exit(code int) {
	w.exiting.Do(func() {
		if !w.PostmasterIsAlive() {
			w.vanish()
		}
		if w.leaveSharedMemory() {
			failpoint.Here(failpoint.Unmarked)
			w.proc.SetClean()
		}
		failpoint.Here(failpoint.Marked)
		w.end(code)
	})
}

// criticalLimit is how long the end of a process waits for its other goroutines
// to let go of shared memory. They need microseconds, unless who holds the lock
// they wait for has died.
const criticalLimit = time.Second

// leaveSharedMemory waits until no goroutine of this process can hold a lock of
// shared memory, for ever from then on, and reports whether that is so.
func (w *Worker) leaveSharedMemory() bool {
	left := make(chan struct{})
	go func() {
		w.critical.Lock()
		close(left)
	}()
	select {
	case <-left:
		return true
	case <-time.After(criticalLimit):
		return false
	}
}
