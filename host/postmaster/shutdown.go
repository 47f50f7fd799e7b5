package postmaster

import (
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// killAfter is SIGKILL_CHILDREN_AFTER_SECS.
const killAfter = 5 * time.Second

// ShutdownMode says how urgently the host is to stop. A more immediate mode
// overrides a milder one.
type ShutdownMode int

// The modes, in the order of urgency.
const (
	NoShutdown        ShutdownMode = iota
	SmartShutdown                  // SIGTERM: when the last SQL session is gone
	FastShutdown                   // SIGINT: workers get SIGTERM
	ImmediateShutdown              // SIGQUIT: children get SIGQUIT, and SIGKILL after 5 s
)

// String returns the word of the log and of pg_ctl.
func (s ShutdownMode) String() string {
	switch s {
	case SmartShutdown:
		return "smart"
	case FastShutdown:
		return "fast"
	case ImmediateShutdown:
		return "immediate"
	default:
		return "no"
	}
}

// apply mirrors process_pm_shutdown_request.
func (ev ShutdownRequested) apply(m *Machine) {
	if ev.Mode <= m.shutdown {
		return
	}
	m.shutdown = ev.Mode
	m.logf(elog.Log, "received %s shutdown request", ev.Mode)
	switch ev.Mode {
	case ImmediateShutdown:
		if m.fatal {
			return // that is under way
		}
		m.phase = phaseWaitWorkers
		m.killAt = m.now.Add(killAfter)
		m.stop.begin(m.now)
		m.signalAll(sigquit)
		return
	case FastShutdown:
		if m.phase == phaseRun {
			m.logf(elog.Log, "aborting any active transactions")
		}
	default:
		if m.phase == phaseRun {
			m.stop.reportAt = m.now.Add(reportEvery)
		}
		return // the end of the step looks whom it has to wait for
	}
	m.stopWorkers()
}

// apply does nothing by itself: each step of a smart shutdown looks at the
// sessions.
func (SessionsEnded) apply(*Machine) {}

// awaitSessions goes on with a smart shutdown when the last SQL session has left.
// Until then workers run and are started as ever, though no new session is let
// in. Mirrors what PostmasterStateMachine does while connsAllowed is false.
func (m *Machine) awaitSessions() {
	if m.shutdown == SmartShutdown && m.sessions() == 0 {
		m.stopWorkers()
	}
}

// sessions returns how many SQL sessions a smart shutdown waits for. With the
// gateway they are gone, whatever shared memory says.
func (m *Machine) sessions() int {
	if m.shutdown != SmartShutdown || m.phase != phaseRun || m.cfg.Sessions == nil {
		return 0
	}
	for _, a := range m.auxiliaries {
		if a.name == Gateway && a.child != nil && a.child.pid != 0 {
			return max(m.cfg.Sessions(a.child.pid), 0)
		}
	}
	return 0
}

// stopWorkers is PM_STOP_BACKENDS: from here on no worker is started or
// registered, and what waits for one is told so. Workers that wait to be
// restarted stay where they are, and end with the host.
func (m *Machine) stopWorkers() {
	if m.phase >= phaseWaitWorkers {
		return
	}
	m.phase = phaseWaitWorkers
	m.stop.begin(m.now)
	m.forgetUnstarted()
	for c := range m.allChildren {
		switch {
		case c.worker != nil:
			m.signal(c, sigterm)
		case c.preload:
			m.signal(c, sigkill) // an Init has nothing to finish
		}
	}
}

// advanceShutdown mirrors PostmasterStateMachine, and the look at
// AbortStartTime in ServerLoop.
func (m *Machine) advanceShutdown() {
	if isOver(m.killAt, m.now) {
		m.killAt, m.killed = time.Time{}, true
		m.logf(elog.Log, "issuing SIGKILL to recalcitrant children")
		m.signalAll(sigkill)
	}
	if m.phase == phaseWaitWorkers && !m.anyLeft(isWorker) {
		m.stopAuxiliaries()
	}
	m.watchStop()
}

// end ends the host once nobody is left to wait for.
func (m *Machine) end() {
	switch {
	case m.phase == phaseWaitAuxiliaries && !m.anyLeft(isAny):
		m.exit(0)
	case m.allDead():
		m.endAfterCrash()
	}
}

func (m *Machine) exit(code int) {
	m.phase = phaseExited
	m.emit(Exit{Code: code})
}

// stopAuxiliaries begins what is the shutdown checkpoint in PostgreSQL: the
// workers are gone, those who served them may go. They have nothing to finish,
// so they get no longer than in an immediate shutdown.
func (m *Machine) stopAuxiliaries() {
	m.phase = phaseWaitAuxiliaries
	if m.shutdown == ImmediateShutdown {
		return
	}
	m.logf(elog.Log, "shutting down")
	m.signalAll(sigterm)
	m.killAt = m.now.Add(killAfter)
}

// anyLeft reports whether there is a child of the kind to wait for.
func (m *Machine) anyLeft(kind func(*child) bool) bool {
	for c := range m.allChildren {
		if kind(c) && m.waitsFor(c) {
			return true
		}
	}
	return false
}

// waitsFor reports whether a child holds up a stop. A start that has not even
// been answered by the time of the SIGKILL hangs in the kernel; what may come of
// it later finds its host dead, and ends. Only a crash cycle waits for it too.
func (m *Machine) waitsFor(c *child) bool {
	return c.pid != 0 || !m.killed || m.phase == phaseWaitDead
}

func isWorker(c *child) bool { return c.worker != nil }
func isAny(*child) bool      { return true }
