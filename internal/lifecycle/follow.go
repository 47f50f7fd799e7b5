package lifecycle

import (
	"fmt"
	"strings"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

func (m *Model) consistent() bool {
	return m.server == shmem.ServerStandby || m.server == shmem.ServerReadWrite
}

func (w *Worker) hasDatabase() bool { return w.Def.Flags&plugins.BackendDatabaseConnection != 0 }

// passed tells whether a time that is set has come.
func (m *Model) passed(at time.Time) bool { return !at.IsZero() && !at.After(m.now) }

// sessions are the clients' of the gateway. Without it there are none.
func (m *Model) sessions() int {
	if gateway := m.auxiliary("gateway"); gateway == nil || gateway.Pid == 0 {
		return 0
	}
	return m.Sessions
}

// endWithSessions: a smart shutdown lets everything go on until the last SQL
// session has left (SPEC 9).
func (m *Model) endWithSessions() {
	if m.mode == Smart && m.Running() && m.sessions() == 0 {
		m.stop()
	}
}

// startAuxiliaries: always restarted, at most once a second.
func (m *Model) startAuxiliaries() {
	for _, name := range m.auxiliaries {
		last := m.auxAt[name]
		if !m.Running() || m.auxiliary(name) != nil || !last.IsZero() && m.now.Before(last.Add(time.Second)) {
			continue
		}
		m.auxAt[name] = m.now
		m.Processes = append(m.Processes, &Process{Aux: name})
		m.do(fmt.Sprintf("spawn %s, slot -1", name), "aux")
	}
}

func (m *Model) auxiliary(name string) *Process {
	for _, p := range m.Processes {
		if p.Aux == name {
			return p
		}
	}
	return nil
}

// starting tells whether the start of a worker is unanswered: then there is no
// other.
func (m *Model) starting() bool {
	for _, p := range m.Processes {
		if p.Worker != nil && p.Pid == 0 {
			return true
		}
	}
	return false
}

// startWorkers is SPEC 4.
func (m *Model) startWorkers() {
	if !m.Running() {
		return
	}
	for _, w := range m.newestFirst() {
		if w.process == nil && !w.crashedAt.IsZero() && w.never() {
			m.forget(w)
			m.notify(w.Slot, w.waiter)
		}
	}
	for _, w := range m.newestFirst() {
		if m.starting() || m.passOver || !m.admitted(w) || m.now.Before(w.due()) {
			continue
		}
		if m.starts == 100 {
			m.passOver = true
			return
		}
		m.start(w)
	}
	if !m.starting() && !m.passOver {
		m.starts = 0 // nothing was left to start
	}
}

func (m *Model) start(w *Worker) {
	m.starts++
	w.crashedAt, w.serverAt = time.Time{}, m.serverAt
	w.process = &Process{Worker: w}
	m.Processes = append(m.Processes, w.process)
	m.debug(w, "starting background worker process %q", w.Def.Name)
	m.do(fmt.Sprintf("spawn %s, slot %d", w.Def.Name, w.Slot), "start", w.chain())
}

// admitted tells whether a worker may start but for the time (SPEC 5).
func (m *Model) admitted(w *Worker) bool {
	if w.process != nil || w.loss != None {
		return false
	}
	switch w.Def.StartTime {
	case plugins.StartAtRecoveryFinished:
		return m.server == shmem.ServerReadWrite
	case plugins.StartAtConsistentState:
		return m.consistent()
	}
	return true
}

// due returns when a worker may start by its own past.
func (w *Worker) due() time.Time {
	at := w.notBefore
	if !w.crashedAt.IsZero() {
		if restart := w.crashedAt.Add(time.Duration(w.Def.RestartTime) * time.Second); restart.After(at) {
			at = restart
		}
	}
	return at
}

// startFailed is the other half of SPEC 4.
func (m *Model) startFailed(p *Process, err error, transient bool) {
	w := p.Worker
	if w == nil {
		m.log("could not fork \"%s\" process: %s", p.Aux, err)
		return
	}
	w.process = nil
	m.passOver = true
	w.report.Exited, w.report.ExitCode, w.report.ExitSignal, w.report.SQLState, w.report.Message = m.now, 1, 0, "", err.Error()
	first := w.failingSince.IsZero()
	if first {
		w.failingSince = m.now
	}
	failing := m.now.Sub(w.failingSince)
	if transient && m.Running() && !w.terminate && failing < 10*time.Second {
		if first {
			m.log("could not fork background worker process: %s", err)
		}
		pause := min(max(failing, 100*time.Millisecond), 10*time.Second-failing)
		w.notBefore = m.now.Add(pause)
		return
	}
	m.log("could not fork background worker process: %s", err)
	w.failingSince, w.crashedAt, w.notBefore = time.Time{}, m.now, m.now.Add(time.Second)
	m.ended(w)
}

// endPatience: 5 s after SIGQUIT.
func (m *Model) endPatience() {
	if m.passed(m.killAt) {
		m.killAt, m.killed = time.Time{}, true
		m.log("issuing SIGKILL to recalcitrant children")
		m.signalAll("SIGKILL")
	}
}

// holdsUp tells whether a stop waits for a process. The request for one that is
// unanswered when all others were killed is given up, except in a crash cycle:
// it would come to life in memory that was made anew.
func (m *Model) holdsUp(p *Process) bool { return p.Pid != 0 || !m.killed || m.cycle }

// heldUpBy returns those whom a stop waits for: the workers, and then the rest.
func (m *Model) heldUpBy() (workers, all []*Process) {
	for _, w := range m.newestFirst() {
		if w.process != nil && m.holdsUp(w.process) {
			workers = append(workers, w.process)
		}
	}
	all = workers[:len(workers):len(workers)]
	for _, name := range m.auxiliaries {
		if p := m.auxiliary(name); p != nil && m.holdsUp(p) {
			all = append(all, p)
		}
	}
	return workers, all
}

// endWithWorkers: auxiliary processes stop after the workers.
func (m *Model) endWithWorkers() {
	if workers, _ := m.heldUpBy(); !m.stopping || m.cycle || m.auxTold || len(workers) > 0 {
		return
	}
	m.auxTold = true
	if m.mode != Immediate {
		m.log("shutting down")
		m.signalAll("SIGTERM")
		m.killAt = m.now.Add(5 * time.Second)
	}
}

// stopDeadline is worker_stop_timeout as a time, while it counts.
func (m *Model) stopDeadline() time.Time {
	if m.settings.StopTimeout <= 0 || !m.stopping || m.cycle || m.auxTold || m.enforced || m.mode == Immediate {
		return time.Time{}
	}
	return m.stopSince.Add(m.settings.StopTimeout)
}

func (m *Model) enforceStopTimeout() {
	if m.passed(m.stopDeadline()) {
		m.enforced = true
		workers, _ := m.heldUpBy()
		for _, p := range workers {
			m.enforce(p)
		}
	}
}

func (m *Model) enforce(p *Process) {
	if p.Pid != 0 {
		m.log("issuing SIGKILL to %s | It has not stopped within \"worker_stop_timeout\" (%s).", p.describe(), m.settings.StopTimeout)
		m.signal(p, "SIGKILL")
	}
}

func (p *Process) describe() string {
	name, pid := p.Aux, "still being started"
	if p.Worker != nil {
		name = fmt.Sprintf("background worker %q", p.Worker.Def.Name)
	}
	if p.Pid != 0 {
		pid = fmt.Sprint("PID ", p.Pid)
	}
	return fmt.Sprintf("%s (%s)", name, pid)
}

func (m *Model) sayWhoIsWaitedFor() {
	if !m.passed(m.sayAt) {
		return
	}
	m.sayAt = m.now.Add(10 * time.Second)
	if m.Running() {
		of := "sessions"
		if m.Sessions == 1 {
			of = "session"
		}
		m.log("still waiting for %d %s of the gateway to end", m.Sessions, of)
		return
	}
	list, all := m.heldUpBy()
	what := "background workers"
	switch {
	case m.cycle:
		list, what = all, "processes"
	case m.auxTold:
		list, what = all, "auxiliary processes"
	}
	var names []string
	for _, p := range list {
		names = append(names, p.describe())
	}
	if n := len(names); n > 20 {
		names = append(names[:20], fmt.Sprintf("%d more", n-20))
	}
	switch len(list) {
	case 0:
	case 1:
		m.log("still waiting for %s to stop", names[0])
	default:
		m.log("still waiting for %d %s to stop | Still running: %s.", len(list), what, strings.Join(names, ", "))
	}
}

// lookAtLockFile: once a minute (SPEC 15).
func (m *Model) lookAtLockFile() {
	if m.lockFileAt.IsZero() {
		m.lockFileAt = m.now.Add(time.Minute)
	}
	if m.passed(m.lockFileAt) {
		m.checkLockFile()
	}
}

func (m *Model) checkLockFile() {
	m.lockFileAt = m.now.Add(time.Minute)
	m.do("CheckLockFile{}", "reload")
}

func (m *Model) writeStatus() {
	status := "ready"
	switch {
	case !m.begun:
		return
	case m.mode != No:
		status = "stopping"
	case m.server == shmem.ServerStandby:
		status = "standby"
	}
	if status != m.status {
		m.status = status
		m.do("SetStatus{Status:" + status + "}")
	}
}

func (m *Model) exitIfDone() {
	_, left := m.heldUpBy()
	switch {
	case m.cycle && len(m.Processes) == 0:
		if m.mode == No {
			m.log("shutting down because \"restart_after_crash\" is off")
		} else {
			m.log("abnormal database system shutdown")
		}
		m.do("Exit{Code:1}")
		m.Exited = true
	case m.auxTold && !m.cycle && len(left) == 0:
		m.do("Exit{Code:0}")
		m.Exited = true
	}
}

// NextWake returns when something is due although nothing happens, 60 s from
// now at the latest.
func (m *Model) NextWake() time.Time {
	wake := m.now.Add(time.Minute)
	due := func(at time.Time) {
		if !at.IsZero() && at.Before(wake) {
			wake = at
		}
	}
	due(m.killAt)
	due(m.sayAt)
	due(m.lockFileAt)
	if m.passed(m.lookAt) {
		return m.now
	}
	due(m.lookAt)
	due(m.stopDeadline())
	if !m.Running() {
		return wake
	}
	for _, name := range m.auxiliaries {
		if m.auxiliary(name) == nil {
			due(m.auxAt[name].Add(time.Second))
		}
	}
	if m.passOver {
		return m.now
	}
	for _, w := range m.Workers {
		if m.admitted(w) && !m.starting() {
			due(w.due())
		}
	}
	return wake
}

// Report returns what there is to say about a worker, and whether it has no
// start under way: while one is, the former report may stand.
func (w *Worker) Report() (r shmem.WorkerReport, settled bool) {
	r = w.report
	r.LostServer = w.loss != None
	if w.process == nil {
		r.NextStart = w.due()
	}
	return r, w.process == nil || w.process.Pid != 0
}
