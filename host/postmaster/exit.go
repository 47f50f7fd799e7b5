package postmaster

import (
	"fmt"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// outcome is what an exit means for a worker.
type outcome int

const (
	exitDone    outcome = iota // exit 0: it has done its work
	exitFailed                 // exit 1: an error, or a SIGTERM
	exitCrashed                // anything else
)

// outcome classifies an exit by SPEC 6. A SIGTERM can hit a Go process before
// it can handle any: that is a worker terminated before it started.
func (ev *Exited) outcome() outcome {
	switch s := ev.Status; {
	case ev.Critical && !ev.Clean:
		return exitCrashed // whatever it says: it went without the runtime's farewell
	case ev.Failure != nil,
		s.Signaled && s.Signal == sigterm && !ev.Ready,
		!s.Signaled && s.Code == 1:
		return exitFailed
	case !s.Signaled && s.Code == 0:
		return exitDone
	}
	return exitCrashed
}

// apply mirrors CleanupBackend.
func (ev Exited) apply(m *Machine) {
	c := m.children[ev.Child]
	if c == nil || c.pid == 0 {
		return
	}
	m.buried(c)
	switch {
	case c.preload:
		m.preloadExited(ev)
		return
	case c.auxiliary != nil:
		m.auxiliaryExited(c, ev)
		return
	}
	m.workerExited(c, ev)
}

// workerExited does what CleanupBackend does for a background worker. As
// there, the line about a crash comes before its consequences, and the line
// about any other exit after them.
func (m *Machine) workerExited(c *child, ev Exited) {
	w, out := c.worker, ev.outcome()
	m.countExit(ev, out)
	name := fmt.Sprintf("background worker \"%s\"", w.def.Type)
	level := elog.Log
	if out == exitDone {
		level = elog.Debug1
	}
	if out == exitCrashed {
		m.logExit(level, name, c.pid, ev)
		m.childCrashed(c, ev)
	}
	m.settle(w, out, ev)
	m.reportExit(w)
	if out != exitCrashed {
		m.logExit(level, name, c.pid, ev)
	}
	if w.lost != notLost {
		m.pokeMonitor()
	}
}

// settle notes what an exit means for the worker's future.
func (m *Machine) settle(w *worker, out outcome, ev Exited) {
	w.child = nil
	w.noteExit(m, ev)
	w.slotPid = shmem.DeadPid // as it is about to be reported
	m.takeNext(w)
	if m.drained(w, out) {
		return
	}
	w.lost = m.lossOf(w, ev)
	switch {
	case out == exitDone:
		w.terminate = true
	case w.lost != notLost:
		w.lostAt = m.now
		if m.now.Sub(w.started) >= longestLossDelay {
			w.losses = 0
		}
	default:
		w.crashedAt = m.now
	}
}

// logExit mirrors LogChildExit. In an immediate shutdown, and once a crash cycle
// has begun, nothing is said of children that crashed or were killed: that was
// the order.
func (m *Machine) logExit(level elog.Level, name string, pid int, ev Exited) {
	s := ev.Status
	if ev.Failure != nil {
		e := elog.AsErrorData(ev.Failure, elog.Log)
		e.Message = fmt.Sprintf("%s (PID %d) could not be started: %s", name, pid, e.Message)
		m.emit(Log{e})
		return
	}
	if (m.shutdown == ImmediateShutdown || m.fatal) && (s.Signaled || ev.outcome() == exitCrashed) {
		return
	}
	e := elog.New(level, "", "%s (PID %d) %s", name, pid, s)
	if ev.Activity != "" && (s.Signaled || s.Code != 0) {
		e = e.WithDetail("Failed process was running: %s", ev.Activity)
	}
	m.emit(Log{ev.Limit.AddTo(e)})
}

// AddTo adds what there is to say of a limit to the report of an exit, and
// returns that.
func (l Limit) AddTo(e *elog.ErrorData) *elog.ErrorData {
	if l.Detail == "" {
		return e
	}
	if e.Detail != "" {
		e.Detail = "\n" + e.Detail
	}
	e.Detail = l.Detail + e.Detail
	e.Hint = l.Hint
	return e
}
