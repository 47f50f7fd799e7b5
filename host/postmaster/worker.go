package postmaster

import (
	"slices"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// worker is a registered worker, the postmaster's private copy. Mirrors
// RegisteredBgWorker.
type worker struct {
	def       plugins.BackgroundWorker
	slot      int
	gen       uint64 // of the slot, while the worker has it
	intruded  bool   // others may have handles of the slot with later generations
	static    bool
	child     *child // nil: no process, and none being started
	slotPid   int    // what the slot says, from our own memory
	terminate bool   // not to be started again; only while it has a child
	draining  bool   // a reload wants it to begin anew; only while it has a child
	goesOn    bool   // it was drained, and starts again whatever its restart time says

	registrar string                    // the library that has registered it, of a static worker
	places    []string                  // where its process has found its library: see Spawned
	next      *plugins.BackgroundWorker // its registration from the next start on; only while it has a child

	crashedAt    time.Time // when it ended with an error; zero: it did not
	notBefore    time.Time // a start before this would be a hot loop
	failingSince time.Time // when starting it began to fail for want of resources

	session time.Time // when the server it has to do with was started
	lost    loss      // it lost that server and waits for news of it
	lostAt  time.Time
	losses  int       // in a row, to a server that was there all the time
	started time.Time // when its last process was
	ready   time.Time // since when nothing but the host's other business keeps it from being started; zero: something does

	touched bool               // it is in Machine.touched
	report  shmem.WorkerReport // for those who ask; see currentReport
}

func (w *worker) neverRestarts() bool { return w.def.RestartTime == plugins.NeverRestart }

// due returns the time at which the worker may start as far as its own past is
// concerned.
func (w *worker) due() time.Time {
	if w.crashedAt.IsZero() {
		return w.notBefore
	}
	at := w.crashedAt.Add(time.Duration(w.def.RestartTime) * time.Second)
	if at.Before(w.notBefore) {
		return w.notBefore
	}
	return at
}

// registerStatic mirrors BackgroundWorkerShmemInit and the pushing that
// RegisterBackgroundWorker did before it: the worker registered last is at the
// head of the list, and gets slot 0.
func (m *Machine) registerStatic() {
	for i, def := range m.cfg.Static {
		def.NotifyPid = 0 // only dynamic workers have somebody to notify
		w := &worker{def: def, slot: len(m.cfg.Static) - 1 - i, static: true}
		if i < len(m.cfg.Registrars) {
			w.registrar = m.cfg.Registrars[i]
		}
		m.push(w)
	}
	m.initSlots()
}

// initSlots gives the slots their first contents.
func (m *Machine) initSlots() {
	for _, w := range slices.Backward(m.workers) {
		m.emit(InitSlot{Slot: w.slot, Worker: w.def})
	}
}

// push puts a worker at the head of the list.
func (m *Machine) push(w *worker) {
	w.slotPid = shmem.InvalidPid
	w.report.Registered = m.now
	m.statistics.Registered++
	m.workers = append(m.workers, w)
	m.bySlot[w.slot] = w
	m.touch(w)
}

// forget removes a worker and releases its slot. The caller notifies whoever
// waits for it, afterwards. Mirrors ForgetBackgroundWorker.
func (m *Machine) forget(w *worker) {
	m.statistics.Unregistered++
	m.emit(Bury{Worker: w.def, Report: w.currentReport()})
	release := ReleaseSlot{Slot: w.slot, Parallel: w.def.Flags&plugins.ClassParallel != 0}
	if w.intruded {
		release.Generation = w.gen + intrusions
	}
	m.emit(release)
	m.logf(elog.Debug1, "unregistering background worker \"%s\"", w.def.Name)
	delete(m.bySlot, w.slot)
	i := slices.Index(m.workers, w)
	m.workers = slices.Delete(m.workers, i, i+1)
}

// forgetUnstarted mirrors ForgetUnstartedBackgroundWorkers. A worker whose
// start is under way counts as started: it will be reported and stopped.
func (m *Machine) forgetUnstarted() {
	for _, w := range slices.Backward(m.workers) {
		if w.slotPid == shmem.InvalidPid && w.child == nil && w.def.NotifyPid != 0 {
			m.forget(w)
			m.notify(w.def.NotifyPid)
		}
	}
}

// report publishes the worker's pid and notifies whoever waits for that.
// Mirrors ReportBackgroundWorkerPID.
func (m *Machine) report(w *worker, pid int) {
	m.setSlotPid(w, pid)
	m.notify(w.def.NotifyPid)
}

// reportExit publishes that the worker's process is gone. A worker that will
// not come back is forgotten before the notification, so that whoever is
// notified can have the slot. Mirrors ReportBackgroundWorkerExit.
func (m *Machine) reportExit(w *worker) {
	m.setSlotPid(w, shmem.DeadPid)
	if w.terminate || w.neverRestarts() && w.lost == notLost && !w.goesOn {
		m.forget(w)
	}
	m.notify(w.def.NotifyPid)
}

func (m *Machine) setSlotPid(w *worker, pid int) {
	w.slotPid = pid
	m.emit(SetSlotPid{Slot: w.slot, Pid: pid})
}
