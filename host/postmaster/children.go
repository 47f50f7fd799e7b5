package postmaster

import (
	"slices"

	"golang.org/x/sys/unix"
)

// The signals the postmaster sends.
const (
	sighup  = unix.SIGHUP
	sigterm = unix.SIGTERM
	sigquit = unix.SIGQUIT
	sigkill = unix.SIGKILL
)

// spawn adds a child that has no pid yet and asks the shell to start it.
func (m *Machine) spawn(cmd Spawn) *child {
	m.lastChild++
	cmd.Child = m.lastChild
	c := &child{id: m.lastChild}
	m.children[c.id] = c
	m.emit(cmd)
	return c
}

// apply is what follows the fork in StartBackgroundWorker and StartChildProcess.
func (ev Spawned) apply(m *Machine) {
	c := m.children[ev.Child]
	if c == nil || c.pid != 0 {
		return
	}
	if m.pass.spawning == c {
		m.pass.spawning = nil
	}
	switch {
	case ev.Err == nil:
		if c.worker != nil {
			c.worker.places = ev.Places
		}
		m.adopt(c, ev.Pid)
	case c.worker != nil:
		m.workerStartFailed(c, ev)
	case c.preload:
		m.preloadStartFailed(c, ev)
	default:
		m.auxiliaryStartFailed(c, ev)
	}
}

// adopt gives a child its pid and hands over the signals that came before it.
func (m *Machine) adopt(c *child, pid int) {
	if _, reused := m.live[pid]; reused {
		// The former owner of the pid has been reaped, or the kernel would not
		// have given it away; the news of that is still on its way.
		m.stopNotifications(pid)
	}
	c.pid = pid
	m.live[pid] = c.id
	switch {
	case c.worker != nil:
		m.workerStarted(c.worker, pid)
	case c.auxiliary != nil:
		m.statistics.AuxiliaryStarts++
	}
	sig := m.owed(c)
	switch {
	case sig == 0 && c.reload:
		m.signal(c, sighup)
	case sig == sigkill && !m.killed && c.worker != nil: // so it is worker_stop_timeout
		m.enforceStop(c)
	case sig != 0:
		m.signal(c, sig)
	}
}

// owed returns the signal that a child would have got by now, had its pid been
// known, or 0.
func (m *Machine) owed(c *child) unix.Signal {
	switch {
	case m.killed, c.preload && m.phase != phaseRun: // an Init has nothing to finish
		return sigkill
	case m.shutdown == ImmediateShutdown, m.fatal:
		return sigquit
	case c.worker != nil && m.stop.enforced:
		return sigkill
	case c.worker != nil && (c.worker.terminate || c.worker.draining || m.phase == phaseWaitWorkers),
		c.auxiliary != nil && m.phase == phaseWaitAuxiliaries:
		return sigterm
	}
	return 0
}

// signal sends a signal to a child that has a pid and is not buried. One that
// has none yet gets what it is owed when it has.
func (m *Machine) signal(c *child, sig unix.Signal) {
	if c.pid != 0 && m.children[c.id] == c {
		m.emit(Signal{Child: c.id, Pid: c.pid, Sig: sig})
	}
}

// signalAll mirrors SignalChildren.
func (m *Machine) signalAll(sig unix.Signal) {
	for c := range m.allChildren {
		m.signal(c, sig)
	}
}

// allChildren yields the workers' children in the order of the list, then the
// auxiliaries', then the one that runs an Init.
func (m *Machine) allChildren(yield func(*child) bool) {
	for _, w := range slices.Backward(m.workers) {
		if w.child != nil && !yield(w.child) {
			return
		}
	}
	for _, a := range m.auxiliaries {
		if a.child != nil && !yield(a.child) {
			return
		}
	}
	if m.reloading != nil {
		yield(m.reloading)
	}
}

// notify sends SIGUSR1 to pid if that is a live child of ours: the number may
// come out of shared memory.
func (m *Machine) notify(pid int) {
	if m.isLive(pid) {
		m.emit(Notify{Pid: pid})
	}
}

func (m *Machine) isLive(pid int) bool {
	_, ok := m.live[pid]
	return ok
}

// buried forgets the process of a child. From here on its pid is nobody's.
func (m *Machine) buried(c *child) {
	delete(m.children, c.id)
	if m.live[c.pid] == c.id {
		delete(m.live, c.pid)
		m.stopNotifications(c.pid)
	}
}

// stopNotifications mirrors BackgroundWorkerStopNotifications.
func (m *Machine) stopNotifications(pid int) {
	for _, w := range m.workers {
		if w.def.NotifyPid == pid {
			w.def.NotifyPid = 0
		}
	}
}
