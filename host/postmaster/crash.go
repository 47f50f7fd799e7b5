package postmaster

import (
	"slices"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// CrashScope says how far the crash of one child reaches.
type CrashScope int

// The scopes, with the words of the setting crash_scope.
const (
	// CrashScopeAuto ("auto") treats the crash of a child as an exit with code
	// 1, unless it may have left shared memory in disorder.
	CrashScopeAuto CrashScope = iota
	// CrashScopeCluster ("cluster") is PostgreSQL's: every crash ends all
	// children and has shared memory made anew.
	CrashScopeCluster
	// CrashScopeWorker ("worker") never reaches beyond the child.
	CrashScopeWorker
)

// crashScopes are the words of crash_scope.
var crashScopes = map[string]CrashScope{"auto": CrashScopeAuto, "cluster": CrashScopeCluster, "worker": CrashScopeWorker}

// ParseCrashScope returns the scope that a value of crash_scope names. It must
// be one of [CrashScopeNames].
func ParseCrashScope(name string) CrashScope { return crashScopes[name] }

// childCrashed does what follows from a crash beyond the child that had it.
// Mirrors HandleChildCrash.
func (m *Machine) childCrashed(c *child, ev Exited) {
	switch {
	case m.fatal, m.shutdown == ImmediateShutdown:
		return // everybody is being ended already
	case m.stop.enforced && c.worker != nil:
		return // we have killed it ourselves
	case c.worker != nil && c.worker.def.Flags&plugins.ShmemAccess == 0:
		return // it could not harm what it did not have
	case m.reachesAll(ev):
		m.beginCrashCycle()
	case ev.Critical:
		m.emit(BreakLocks{Pid: ev.Pid})
	}
}

// reachesAll applies crash_scope.
func (m *Machine) reachesAll(ev Exited) bool {
	switch m.crashScope {
	case CrashScopeCluster:
		return true
	case CrashScopeAuto:
		return ev.Critical
	default:
		return false
	}
}

// beginCrashCycle ends all children at once: what one of them did to shared
// memory may have harmed all.
func (m *Machine) beginCrashCycle() {
	m.logf(elog.Log, "terminating any other active server processes")
	m.fatal = true
	m.statistics.CrashCycles++
	m.phase = phaseWaitDead
	m.killAt = m.now.Add(killAfter)
	m.stop.begin(m.now)
	m.signalAll(sigquit)
}

// advanceCrashCycle makes a new beginning once all children are gone. A start
// that is unanswered is waited for, however long that takes: the process that
// may come of it has the old shared memory. Mirrors the end of
// PostmasterStateMachine.
func (m *Machine) advanceCrashCycle() {
	if m.allDead() && m.shutdown == NoShutdown && m.restartAfterCrash {
		m.logf(elog.Log, "all server processes terminated; reinitializing")
		m.reinitialize()
	}
}

func (m *Machine) allDead() bool { return m.phase == phaseWaitDead && len(m.children) == 0 }

// endAfterCrash is the end of a host that does not begin anew.
func (m *Machine) endAfterCrash() {
	if m.shutdown != NoShutdown {
		m.logf(elog.Log, "abnormal database system shutdown")
	} else {
		m.logf(elog.Log, "shutting down because \"restart_after_crash\" is off")
	}
	m.exit(1)
}

// reinitialize has shared memory made anew and hands the slots out again, from
// 0 and with generation 0, to the workers that survive a crash. Mirrors
// ResetBackgroundWorkerCrashTimes and BackgroundWorkerShmemInit. As no child is
// left, terminated workers have been forgotten, and so has whoever was to be
// notified of others.
func (m *Machine) reinitialize() {
	m.workers = slices.DeleteFunc(m.workers, func(w *worker) bool {
		// Who has registered a worker with a request is gone, too. Its successor
		// knows best whether the request is to be fulfilled.
		forgotten := w.neverRestarts() || w.def.Request() != 0
		if forgotten {
			m.statistics.Unregistered++
			m.emit(Bury{Worker: w.def, Report: w.currentReport()})
			m.logf(elog.Debug1, "unregistering background worker \"%s\"", w.def.Name)
		}
		return forgotten
	})
	m.emit(Reinitialize{})
	m.fatal, m.killed, m.killAt = false, false, time.Time{}
	m.stop = stop{timeout: m.stop.timeout}
	m.pass = launchPass{}
	m.server.state = shmem.ServerUnreachable // until the next monitor has had its look
	m.phase = phaseRun

	m.bySlot = make(map[int]*worker)
	for i, w := range m.workers {
		*w = worker{def: w.def, slot: len(m.workers) - 1 - i, static: w.static, registrar: w.registrar, slotPid: shmem.InvalidPid, report: w.report, touched: w.touched}
		m.touch(w)
		m.bySlot[w.slot] = w
	}
	m.initSlots()
	for _, a := range m.auxiliaries {
		a.next = time.Time{}
	}
}
