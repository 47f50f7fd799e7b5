package postmaster

import (
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

func (ev SlotsChanged) apply(m *Machine) {
	if m.phase != phaseInit {
		m.backgroundWorkerStateChange(ev.Slots)
	}
}

// lookEvery is how often the slots are looked at though nobody says that they
// have changed: whoever writes garbage need not ring the alarm, and may wipe out
// the reason why somebody else has.
const lookEvery = time.Minute

// backgroundWorkerStateChange notices what children did to the slots. It
// mirrors BackgroundWorkerStateChange: nothing it reads may be taken for
// granted, and each slot is looked at once, whatever it holds. It looks at the
// slots that are named only, where some are: a registration must not cost more
// the more there could be.
func (m *Machine) backgroundWorkerStateChange(changed []int) {
	if changed == nil {
		m.lookAt = m.now.Add(lookEvery)
	}
	slots := m.cfg.Slots
	if total := slots.TotalSlots(); total != int64(slots.Len()) {
		m.logf(elog.Log, "inconsistent background worker state (\"max_worker_processes\"=%d, total slots=%d)", slots.Len(), total)
		m.emit(RestoreHeader{}) // for the next time
		return
	}
	for _, i := range changed {
		m.look(i)
	}
	if changed != nil {
		return
	}
	for i := range slots.Len() {
		m.look(i)
	}
}

// look notices what became of one slot.
func (m *Machine) look(i int) {
	switch w := m.bySlot[i]; {
	case w != nil:
		m.noticeIntrusion(w)
		m.noticeTerminate(w)
	case m.cfg.Slots.InUse(i):
		m.noticeNew(i)
	}
}

// intrusions is how many generations are skipped behind those of a slot that was
// overwritten: more than anybody can have made of it meanwhile.
const intrusions = 1 << 32

// noticeIntrusion restores the slot of a worker if it does not say what the
// postmaster last wrote there. PostgreSQL would go on: the slot of a worker that
// runs could be given to another one, nobody could end the first any more, and
// the end of either would free the slot of both. Whoever registered the other one
// is told, and finds it stopped.
func (m *Machine) noticeIntrusion(w *worker) {
	slots := m.cfg.Slots
	inUse, gen := slots.InUse(w.slot), slots.Generation(w.slot)
	if inUse && gen == w.gen && slots.Pid(w.slot) == w.slotPid {
		return
	}
	m.emit(Log{elog.New(elog.Log, "", "slot %d of shared memory was overwritten", w.slot).
		WithDetail("It has been given back to background worker \"%s\".", w.def.Name)})
	notify := 0
	if gen != w.gen {
		notify = slots.Descriptor(w.slot).NotifyPid
	}
	w.intruded = true
	m.touch(w) // the report may be garbage, too
	m.emit(RestoreSlot{Slot: w.slot, Worker: w.def, Generation: w.gen, Pid: w.slotPid})
	m.notify(notify)
}

// noticeTerminate looks at the only thing that may change about a worker once
// it is known.
func (m *Machine) noticeTerminate(w *worker) {
	if w.terminate || !m.cfg.Slots.Terminate(w.slot, w.gen) {
		return
	}
	w.terminate, w.report.Terminated = true, true
	m.touch(w)
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
	def, gen := m.cfg.Slots.Descriptor(slot), m.cfg.Slots.Generation(slot)
	switch {
	case m.phase >= phaseWaitWorkers, m.cfg.Slots.Terminate(slot, gen):
		m.refuse(slot, &def)
	case !m.plausible(def):
		m.logf(elog.Log, "invalid background worker registration in slot %d", slot)
		m.refuse(slot, &def)
	default:
		m.register(slot, gen, def)
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

func (m *Machine) register(slot int, gen uint64, def plugins.BackgroundWorker) {
	if !m.isLive(def.NotifyPid) {
		m.logf(elog.Debug1, "worker notification PID %d is not valid", def.NotifyPid)
		def.NotifyPid = 0
	}
	m.logf(elog.Debug1, "registering background worker \"%s\"", def.Name)
	w := &worker{def: def, slot: slot, gen: gen}
	if a, ok := m.announcedAs(def); ok {
		a.Worker.NotifyPid = def.NotifyPid
		w.def, w.static, w.registrar = a.Worker, true, a.registrar
	}
	m.push(w)
	if m.cfg.Slots.Pid(slot) != shmem.InvalidPid { // it was restored, and released, while it was being claimed
		m.emit(SetSlotPid{Slot: slot, Pid: shmem.InvalidPid})
	}
}
