package postmaster

import (
	"fmt"
	"strings"
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// reportEvery is how often a stop says whom it waits for.
const reportEvery = 10 * time.Second

// stop is what a shutdown keeps track of while workers are on their way out.
type stop struct {
	timeout  time.Duration // worker_stop_timeout; 0: none
	since    time.Time     // when the workers got their SIGTERM; zero: they did not
	enforced bool          // worker_stop_timeout is over, and what was left got a SIGKILL
	reportAt time.Time     // when to say whom we wait for; zero: we don't wait
}

// apply takes note of settings that the core acts upon.
func (ev Configured) apply(m *Machine) {
	m.stop.timeout = ev.WorkerStopTimeout
	m.crashScope, m.restartAfterCrash = ev.CrashScope, ev.RestartAfterCrash
}

// begin notes that workers are told to go.
func (s *stop) begin(now time.Time) {
	s.since = now
	s.reportAt = now.Add(reportEvery)
}

// deadline returns when workers that are still there get a SIGKILL, or zero.
func (s *stop) deadline() time.Time {
	if s.timeout <= 0 || s.since.IsZero() || s.enforced {
		return time.Time{}
	}
	return s.since.Add(s.timeout)
}

// isOver reports whether a time that may be zero has come.
func isOver(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// watchStop kills what has outlived worker_stop_timeout, and says from time to
// time whom the shutdown waits for. PostgreSQL does neither: there, a worker
// that is deaf to SIGTERM blocks a smart or fast shutdown, and nobody is told
// which one it is.
func (m *Machine) watchStop() {
	if m.shutdown < ImmediateShutdown && m.phase == phaseWaitWorkers && isOver(m.stop.deadline(), m.now) {
		m.stop.enforced = true
		for c := range m.allChildren {
			if c.worker != nil {
				m.enforceStop(c)
			}
		}
	}
	if isOver(m.stop.reportAt, m.now) {
		m.stop.reportAt = m.now.Add(reportEvery)
		m.reportWait()
	}
}

// enforceStop ends a worker that has not stopped in time. One that has no pid
// yet it will be called for again.
func (m *Machine) enforceStop(c *child) {
	if c.pid == 0 {
		return
	}
	m.emit(Log{elog.New(elog.Log, "", "issuing SIGKILL to %s", c.description()).
		WithDetail("It has not stopped within \"worker_stop_timeout\" (%s).", m.stop.timeout)})
	m.signal(c, sigkill)
}

// description names a child for the log.
func (c *child) description() string {
	process := "still being started"
	if c.pid != 0 {
		process = fmt.Sprintf("PID %d", c.pid)
	}
	if c.worker != nil {
		return fmt.Sprintf("background worker \"%s\" (%s)", c.worker.def.Name, process)
	}
	if c.preload {
		return fmt.Sprintf("preload process (%s)", process)
	}
	return fmt.Sprintf("%s (%s)", c.auxiliary.name, process)
}

// longestList is how many children a line about them names.
const longestList = 20

// reportWait says whom the shutdown waits for: the sessions of the gateway, then
// the workers, and then the auxiliary processes.
func (m *Machine) reportWait() {
	kind, what := isWorker, "background workers"
	switch m.phase {
	case phaseRun:
		m.reportSessions()
		return
	case phaseWaitAuxiliaries:
		kind, what = isAny, "auxiliary processes"
	case phaseWaitDead:
		kind, what = isAny, "processes"
	}
	var names []string
	count := 0
	for c := range m.allChildren {
		if !kind(c) || !m.waitsFor(c) {
			continue
		}
		if count++; count <= longestList {
			names = append(names, c.description())
		}
	}
	switch {
	case count == 0:
		return
	case count == 1:
		m.logf(elog.Log, "still waiting for %s to stop", names[0])
		return
	case count > longestList:
		names = append(names, fmt.Sprintf("%d more", count-longestList))
	}
	m.emit(Log{elog.New(elog.Log, "", "still waiting for %d %s to stop", count, what).
		WithDetail("Still running: %s.", strings.Join(names, ", "))})
}

func (m *Machine) reportSessions() {
	switch n := m.sessions(); n {
	case 0: // the next step goes on
	case 1:
		m.logf(elog.Log, "still waiting for 1 session of the gateway to end")
	default:
		m.logf(elog.Log, "still waiting for %d sessions of the gateway to end", n)
	}
}
