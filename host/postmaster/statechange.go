package postmaster

import (
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

func (ev SlotsChanged) apply(m *Machine) {
	if m.phase != phaseInit {
		m.backgroundWorkerStateChange()
	}
}

// backgroundWorkerStateChange notices what children did to the slots. It
// mirrors BackgroundWorkerStateChange: nothing it reads may be taken for
// granted, and each slot is looked at once, whatever it holds.
func (m *Machine) backgroundWorkerStateChange() {
	slots := m.cfg.Slots
	if total := slots.TotalSlots(); total != int64(slots.Len()) {
		m.logf(elog.Log, "inconsistent background worker state (\"max_worker_processes\"=%d, total slots=%d)", slots.Len(), total)
		return
	}
	for i := range slots.Len() {
		switch w := m.bySlot[i]; {
		case !slots.InUse(i):
		case w != nil:
			m.noticeTerminate(w)
		default:
			m.noticeNew(i)
		}
	}
}

// noticeTerminate looks at the only thing that may change about a worker once
// it is known.
func (m *Machine) noticeTerminate(w *worker) {
	if w.terminate || !m.cfg.Slots.Terminate(w.slot) {
		return
	}
	w.terminate = true
	if w.child != nil {
		m.signal(w.child, sigterm)
		return
	}
	// PostgreSQL notifies here, and forgets in its next launch pass: whoever is
	// notified may find the slot still taken.
	m.reportExit(w)
}

// noticeNew registers what a slot holds, or gives the slot back.
func (m *Machine) noticeNew(slot int) {
	def := m.cfg.Slots.Descriptor(slot)
	switch {
	case m.phase >= phaseWaitWorkers, m.cfg.Slots.Terminate(slot):
		m.refuse(slot, &def)
	case !m.plausible(def):
		m.logf(elog.Log, "invalid background worker registration in slot %d", slot)
		m.refuse(slot, &def)
	default:
		m.register(slot, def)
	}
}

// plausible reports whether a descriptor can have been registered, rather than
// being garbage. PostgreSQL lives with any nonsense here; but no start time that
// is none will ever come, a restart time below zero is a hot loop, and memory
// that is all zeros but for in_use would be a worker that fails, and is restarted
// without a delay, for ever. A parallel worker that restarts would survive a
// crash cycle and then be counted as terminated in a segment that never counted
// it as registered: the cap would be reached for ever.
func (m *Machine) plausible(def plugins.BackgroundWorker) bool {
	const flags = plugins.ShmemAccess | plugins.BackendDatabaseConnection | plugins.Interruptible | plugins.ClassParallel
	return def.Flags&^flags == 0 && def.SanityCheckAs(m.cfg.Personality) == nil
}

// refuse gives back the slot of a worker that will never run, and tells
// whoever waits for it.
func (m *Machine) refuse(slot int, def *plugins.BackgroundWorker) {
	m.emit(SetSlotPid{Slot: slot, Pid: shmem.DeadPid})
	m.emit(ReleaseSlot{Slot: slot, Parallel: def.Flags&plugins.ClassParallel != 0})
	m.notify(def.NotifyPid)
}

func (m *Machine) register(slot int, def plugins.BackgroundWorker) {
	if !m.isLive(def.NotifyPid) {
		m.logf(elog.Debug1, "worker notification PID %d is not valid", def.NotifyPid)
		def.NotifyPid = 0
	}
	m.logf(elog.Debug1, "registering background worker \"%s\"", def.Name)
	m.push(&worker{def: def, slot: slot})
}
