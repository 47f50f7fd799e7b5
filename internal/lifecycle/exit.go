package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// Loss is an exit that was an event of the server.
type Loss int

// The losses: no session was to be had, it broke, or it was ended by somebody
// (57P01) who may have meant the server or the worker.
const (
	None Loss = iota
	NoRoom
	Session
	Doubtful
)

// crash tells whether an exit is neither 0 nor 1 as SPEC 6 counts it.
func (e Exit) crash() bool {
	if e.Critical && !e.Clean {
		return true
	}
	if e.Failure != nil {
		return false // counts as exit 1
	}
	if e.Signal != 0 {
		return e.Signal != unix.SIGTERM || e.Ready
	}
	return e.Code != 0 && e.Code != 1
}

// done tells whether it is an exit 0.
func (e Exit) done() bool { return !e.crash() && e.Failure == nil && e.Signal == 0 && e.Code == 0 }

// Exit is the end of a process.
func (m *Model) Exit(p *Process, e Exit) {
	m.Processes = slices.DeleteFunc(m.Processes, func(other *Process) bool { return other == p })
	m.cancelNotifications(p)
	name := p.Aux + " process"
	if p.Worker != nil {
		name = fmt.Sprintf("background worker %q", p.Worker.Def.Type)
	}
	m.logExit(p, name, e)
	if e.crash() {
		m.crashed(p, e)
	}
	if w := p.Worker; w != nil {
		m.workerExited(w, e)
	}
}

var signals = map[unix.Signal]string{
	unix.SIGQUIT: "Quit", unix.SIGKILL: "Killed", unix.SIGSEGV: "Segmentation fault", unix.SIGTERM: "Terminated",
}

// logExit writes the line of SPEC 6. Children that were told to die are not
// worth a line: PostgreSQL's HandleChildCrash.
func (m *Model) logExit(p *Process, name string, e Exit) {
	level, detail, how := "LOG", "", fmt.Sprint("exited with exit code ", e.Code)
	if e.Signal != 0 {
		how = fmt.Sprintf("was terminated by signal %d: %s", int(e.Signal), signals[e.Signal])
	}
	if e.Activity != "" && (e.Signal != 0 || e.Code != 0) {
		detail = " | Failed process was running: " + e.Activity
	}
	if e.done() && (p.Worker != nil || m.mode != No && !m.Running()) {
		level = "DEBUG1"
	}
	if e.Failure != nil {
		level, detail, how = "LOG", "", "could not be started: "+e.Failure.Error()
	} else if (m.cycle || m.mode == Immediate) && (e.crash() || e.Signal != 0) {
		return
	}
	m.do(fmt.Sprintf("%s: %s (PID %d) %s%s", level, name, p.Pid, how, detail), "log")
}

// crashed says how far a crash reaches (SPEC 7).
func (m *Model) crashed(p *Process, e Exit) {
	scope := m.settings.CrashScope
	switch {
	case m.cycle, m.mode == Immediate:
	case m.enforced && p.Worker != nil: // it was killed by us
	case p.Worker != nil && p.Worker.Def.Flags&plugins.ShmemAccess == 0: // 12 and 13: it had no shared memory
	case scope == "cluster", scope == "auto" && e.Critical:
		m.log("terminating any other active server processes")
		m.cycle = true
		m.stopSince, m.sayAt, m.killAt = m.now, m.now.Add(10*time.Second), m.now.Add(5*time.Second)
		m.signalAll("SIGQUIT")
	case e.Critical:
		m.do(fmt.Sprintf("BreakLocks{Pid:%d}", p.Pid))
	}
}

// workerExited is SPEC 6, with the losses of SPEC 5.
func (m *Model) workerExited(w *Worker, e Exit) {
	w.process = nil
	w.report.Exited, w.report.SQLState, w.report.Message = m.now, e.SQLState, e.Message
	w.report.ExitCode, w.report.ExitSignal = e.Code, e.Signal
	if e.Failure != nil {
		w.report.Message = e.Failure.Error()
	}
	w.loss = m.lossOf(w, e)
	switch {
	case e.done():
		w.terminate = true
	case w.loss == None:
		w.crashedAt = m.now
	default:
		w.lostAt = m.now
		if m.now.Sub(w.spawned) >= time.Minute {
			w.losses = 0
		}
		for _, p := range m.Processes {
			if p.Aux == "server monitor" && p.Pid != 0 {
				m.do("Poke{Aux:server monitor}")
			}
		}
	}
	m.ended(w)
}

func (m *Model) lossOf(w *Worker, e Exit) Loss {
	if !m.Running() || w.terminate || !w.hasDatabase() || e.Failure != nil || e.Signal != 0 || e.Code != 1 {
		return None
	}
	switch {
	case e.SQLState == "53300":
		return NoRoom
	case e.SQLState == "57P01" && m.consistent():
		return Doubtful
	case e.SQLState == "57P01", e.SQLState == "57P02", e.SQLState == "57P03", strings.HasPrefix(e.SQLState, "08"):
		return Session
	}
	return None
}

// serverIsBack decides what becomes of a worker that lost a server, now that
// there is one (SPEC 5).
func (m *Model) serverIsBack(w *Worker) {
	loss, restarted := w.loss, !w.serverAt.Equal(m.serverAt)
	if loss == None {
		return
	}
	w.loss = None
	switch {
	case loss == Doubtful && !restarted:
		w.crashedAt = w.lostAt // it was a SIGTERM to the worker
		return
	case !w.never(): // starts
	case w.Static && (restarted || loss == NoRoom): // starts: static workers do
	default:
		w.crashedAt = w.lostAt // and that is the end of it
		return
	}
	if restarted {
		w.losses = 0
	}
	w.losses++
	w.notBefore = w.lostAt
	if w.losses > 1 {
		delay := time.Second
		for range w.losses - 2 {
			delay = min(2*delay, time.Minute)
		}
		w.notBefore = w.lostAt.Add(delay)
	}
}

// beginAnew is the end of a crash cycle (SPEC 7).
func (m *Model) beginAnew() {
	m.log("all server processes terminated; reinitializing")
	var survivors []*Worker
	for _, w := range m.Workers {
		if w.never() || w.terminate || w.Def.Request() != 0 { // a request is its launcher's to register again
			m.debug(w, "unregistering background worker %q", w.Def.Name)
			continue
		}
		w = &Worker{Def: w.Def, Static: w.Static, unstarted: true, report: w.report}
		survivors = append(survivors, w)
	}
	m.do("Reinitialize{}", "start")
	clear(m.Slots)
	m.Workers = survivors
	m.handOutSlots()
	m.cycle, m.enforced, m.killed = false, false, false
	m.killAt, m.sayAt, m.stopSince = time.Time{}, time.Time{}, time.Time{}
	m.server, m.starts, m.passOver = 0, 0, false
	clear(m.auxAt)
}
