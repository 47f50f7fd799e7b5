package lifecycle

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// Begin is the end of the host's own start (SPEC 2): slots are handed out from
// the head of the list.
func (m *Model) Begin() {
	m.begun = true
	m.lookAt = m.now.Add(time.Minute)
	for _, w := range m.Workers {
		w.report.Registered = m.now
	}
	m.handOutSlots()
}

func (m *Model) handOutSlots() {
	for i, w := range m.newestFirst() {
		w.Slot, w.pid = i, -1
		m.Slots[i] = Slot{InUse: true, Pid: -1, Worker: w.Def}
		m.do(fmt.Sprintf("init slot %d: %s", i, w.Def.Name), "start", w.chain())
	}
}

// Change is the news that children wrote to the slots (SPEC 3).
func (m *Model) Change() {
	m.lookAt = m.now.Add(time.Minute)
	if m.Total != int64(len(m.Slots)) {
		m.log(`inconsistent background worker state ("max_worker_processes"=%d, total slots=%d)`, len(m.Slots), m.Total)
		m.do("RestoreHeader{}", "log")
		return
	}
	for i := range m.Slots {
		s, w := m.Slots[i], m.inSlot(i)
		if w != nil && (!s.InUse || s.Pid != w.pid) {
			m.restore(w)
		}
		switch {
		case w == nil && !s.InUse, w != nil && (w.terminate || !s.Terminate):
		case w != nil:
			m.terminateWorker(w)
		default:
			m.takeOver(i, s)
		}
	}
}

// restore gives a worker back the slot that garbage has taken from it.
func (m *Model) restore(w *Worker) {
	s := &m.Slots[w.Slot]
	s.InUse, s.Pid, s.Worker = true, w.pid, w.Def
	m.log("slot %d of shared memory was overwritten | It has been given back to background worker %q.", w.Slot, w.Def.Name)
	m.do(fmt.Sprintf("restore slot %d: %s, pid %d", w.Slot, w.Def.Name, w.pid), w.chain())
}

func (m *Model) terminateWorker(w *Worker) {
	w.terminate, w.report.Terminated = true, true
	if w.process != nil {
		m.signal(w.process, "SIGTERM")
		return
	}
	m.ended(w)
}

// ended tells the world that a worker has no process, and unregisters one that
// will never have another (SPEC 6).
func (m *Model) ended(w *Worker) {
	waiter := w.waiter
	m.publish(w, 0)
	if w.terminate || w.never() && w.loss == None {
		m.forget(w)
	}
	m.notify(w.Slot, waiter)
}

func (m *Model) takeOver(i int, s Slot) {
	d := s.Worker
	database := d.Flags&plugins.BackendDatabaseConnection != 0
	possible := d.StartTime >= plugins.StartAtPostmasterStart && d.StartTime <= plugins.StartAtRecoveryFinished &&
		d.RestartTime >= plugins.NeverRestart && d.RestartTime <= plugins.MaxRestartInterval &&
		(d.Flags&plugins.ClassParallel == 0 || d.RestartTime == plugins.NeverRestart) &&
		d.Flags&plugins.ShmemAccess != 0 && (!database || d.StartTime != plugins.StartAtPostmasterStart) &&
		(database || d.Flags&plugins.Interruptible == 0) && d.Flags <= 0x1f && d.Flags&0x8 == 0
	refused := s.Terminate || !m.Running()
	if !refused && !possible {
		m.log("invalid background worker registration in slot %d", i)
	}
	if refused || !possible {
		m.setPid(i, 0)
		m.release(i, &d)
		m.notify(i, m.living(d.NotifyPid))
		return
	}
	w := &Worker{Def: d, Slot: i, unstarted: true, pid: -1, waiter: m.living(d.NotifyPid)}
	if w.waiter == nil {
		m.debug(w, "worker notification PID %d is not valid", d.NotifyPid)
	}
	m.debug(w, "registering background worker %q", d.Name)
	w.report.Registered = m.now
	m.Workers = append(m.Workers, w)
	if s.Pid != -1 { // as nobody registers a worker
		m.setPid(i, -1)
	}
}

// Answer is what became of the request for a process: a pid, or an error.
func (m *Model) Answer(p *Process, pid int, err error, transient bool) {
	if err != nil {
		m.Processes = slices.DeleteFunc(m.Processes, func(other *Process) bool { return other == p })
		m.startFailed(p, err, transient)
		return
	}
	if former := m.living(pid); former != nil { // the news of its end is on its way
		former.replaced = true
		m.cancelNotifications(former)
	}
	p.Pid = pid
	if w := p.Worker; w != nil {
		w.failingSince, w.notBefore, w.spawned = time.Time{}, time.Time{}, m.now
		if !w.report.Started.IsZero() {
			w.report.Restarts++
		}
		w.report.Started = m.now
		m.publish(w, pid)
		m.notify(w.Slot, w.waiter)
	}
	m.catchUp(p)
}

// catchUp sends the signal that a process has missed while it had no pid, the
// most urgent one only.
func (m *Model) catchUp(p *Process) {
	switch {
	case m.killed:
		m.signal(p, "SIGKILL")
	case m.cycle || m.mode == Immediate:
		m.signal(p, "SIGQUIT")
	case m.enforced && p.Worker != nil:
		m.enforce(p)
	case p.Worker != nil && (p.Worker.terminate || m.stopping), p.Worker == nil && m.auxTold:
		m.signal(p, "SIGTERM")
	case p.missedHangup:
		m.signal(p, "SIGHUP")
	}
}

func (m *Model) cancelNotifications(p *Process) {
	for _, w := range m.Workers {
		if w.waiter == p {
			w.waiter = nil
		}
	}
}

// News is what is known of the real server (SPEC 5).
func (m *Model) News(state shmem.ServerState, since time.Time) {
	m.server = state
	if !m.consistent() {
		for _, w := range m.Workers {
			if w.loss == Doubtful {
				w.loss = Session
			}
		}
		return
	}
	before := m.serverAt
	if !since.IsZero() {
		m.serverAt = since
	}
	for _, w := range m.Workers {
		if w.Static && !before.IsZero() && !m.serverAt.Equal(before) {
			w.crashedAt = time.Time{} // static workers all start
		}
		m.serverIsBack(w)
	}
}

// Shutdown is a request to stop (SPEC 9).
func (m *Model) Shutdown(mode Mode) {
	if mode <= m.mode {
		return
	}
	m.mode = mode
	m.log("received %s shutdown request", mode)
	if m.cycle {
		return // all are being ended already
	}
	if mode == Immediate {
		m.stopping, m.auxTold = true, false
		m.stopSince, m.sayAt, m.killAt = m.now, m.now.Add(10*time.Second), m.now.Add(5*time.Second)
		m.signalAll("SIGQUIT")
		return
	}
	if m.stopping {
		return
	}
	if mode == Fast {
		m.log("aborting any active transactions")
	}
	if mode == Smart && m.Running() && m.sessions() > 0 {
		m.sayAt = m.now.Add(10 * time.Second)
		return
	}
	m.stop()
}

// stop tells the workers to go.
func (m *Model) stop() {
	m.stopping, m.stopSince, m.sayAt = true, m.now, m.now.Add(10*time.Second)
	for _, w := range m.newestFirst() {
		switch {
		case w.process != nil:
			m.signal(w.process, "SIGTERM")
		case w.unstarted && w.waiter != nil:
			m.forget(w)
			m.notify(w.Slot, w.waiter)
		}
	}
}

// Reload is a SIGHUP (SPEC 10).
func (m *Model) Reload() {
	if m.mode >= Fast {
		return
	}
	m.log("received SIGHUP, reloading configuration files")
	chains := []string{"reload"}
	for _, p := range m.Processes {
		p.missedHangup = p.Pid == 0
		if p.Pid != 0 && !p.replaced {
			chains = append(chains, fmt.Sprint("SIGHUP", p.Pid))
		}
	}
	m.do("Reload{}", chains...)
	m.checkLockFile()
	m.signalAll("SIGHUP")
}

// Configure brings new settings.
func (m *Model) Configure(s Settings) { m.settings = s }

// LockFileLost says that the directory is somebody else's (SPEC 15).
func (m *Model) LockFileLost() {
	if m.mode != Immediate {
		m.log("performing immediate shutdown because data directory lock file is invalid")
		m.Shutdown(Immediate)
	}
}

// Tick is the passing of time.
func (m *Model) Tick() {
	if m.passed(m.lookAt) {
		m.Change()
	}
	for _, p := range m.Processes {
		if p.Worker != nil && p.Pid == 0 {
			return // a pass is under way
		}
	}
	m.starts, m.passOver = 0, false
}

// Exit says how a process ended.
type Exit struct {
	Signal                 unix.Signal // 0: it exited
	Code                   int
	Ready, Clean, Critical bool
	SQLState, Message      string
	Activity               string
	Failure                error // it never became a proper child
}
