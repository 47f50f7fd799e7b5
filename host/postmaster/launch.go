package postmaster

import (
	"slices"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

const (
	maxLaunches  = 100                    // MAX_BGWORKERS_TO_LAUNCH
	firstRetry   = 100 * time.Millisecond // doubles from there
	retryFor     = 10 * time.Second
	restartFloor = time.Second // between starts that only the host's own patience spaces out
)

// launchPass is the state of a pass over the list that starts what can be
// started. It goes on after each answer, so that a slow exec holds up further
// starts but no other event.
type launchPass struct {
	spawning *child // the one start that is unanswered, or nil
	launched int
	over     bool // before its time; the next pass begins at the next Tick
}

// launchWorkers begins or continues a pass. Mirrors maybe_start_bgworkers,
// except that it returns at each start.
func (m *Machine) launchWorkers() {
	if m.phase != phaseRun {
		return
	}
	for _, w := range slices.Backward(m.workers) {
		shallStart := m.shallStart(w)
		w.noteReady(m.now, shallStart)
		if !shallStart || m.pass.spawning != nil || m.pass.over {
			continue
		}
		if m.pass.launched == maxLaunches {
			m.pass.over = true
			continue
		}
		m.startWorker(w)
	}
	if m.pass.spawning == nil && !m.pass.over {
		m.pass.launched = 0
	}
}

// shallStart reports whether a worker is to be started now. It forgets the
// worker if that will never be. Terminated workers that do not run, which
// PostgreSQL forgets here, have been forgotten as they ended.
func (m *Machine) shallStart(w *worker) bool {
	switch {
	case w.child != nil:
		return false
	case !w.crashedAt.IsZero() && w.neverRestarts():
		m.forget(w)
		m.notify(w.def.NotifyPid)
		return false
	}
	return m.mayStart(w) && !m.now.Before(w.due())
}

// mayStart reports whether only time can keep a worker that does not run from
// being started.
func (m *Machine) mayStart(w *worker) bool {
	return w.child == nil && w.lost == notLost && Admits(m.server.state, w.def.StartTime)
}

// noteReady notes since when the worker could be started.
func (w *worker) noteReady(now time.Time, ready bool) {
	switch {
	case !ready:
		w.ready = time.Time{}
	case w.ready.IsZero():
		w.ready = now
	}
}

// startWorker mirrors StartBackgroundWorker up to the fork.
func (m *Machine) startWorker(w *worker) {
	w.crashedAt, w.goesOn = time.Time{}, false
	w.session = m.server.started
	m.logf(elog.Debug1, "starting background worker process \"%s\"", w.def.Name)
	w.child = m.spawn(Spawn{Worker: w.def, Slot: w.slot, Generation: w.gen, Ready: w.ready})
	w.child.worker = w
	m.pass.spawning = w.child
	m.pass.launched++
}

// workerStarted mirrors the end of StartBackgroundWorker. The worker counts as
// started from here, before its process is ready for anything.
func (m *Machine) workerStarted(w *worker, pid int) {
	w.failingSince, w.notBefore, w.started = time.Time{}, time.Time{}, m.now
	w.noteStart(m)
	m.report(w, pid)
}

// workerStartFailed ends the pass: what kept this worker from starting may
// keep the others too. PostgreSQL takes every failed fork for a crash. Here a
// want of resources gets some seconds to pass before it counts as one, because
// the never-restart worker that it hits could not be started again.
func (m *Machine) workerStartFailed(c *child, ev Spawned) {
	w := c.worker
	m.buried(c)
	w.child, w.draining = nil, false
	m.statistics.StartFailures++
	w.noteFailure(m, ev.Err)
	m.takeNext(w)
	m.pass.over = true
	if first := w.failingSince.IsZero(); ev.Transient && m.retryLater(w) {
		if first {
			m.logStartFailure("background worker process", ev.Err)
		}
		return
	}
	m.logStartFailure("background worker process", ev.Err)
	w.crashedAt, w.failingSince = m.now, time.Time{}
	w.notBefore = m.now.Add(restartFloor)
	m.reportExit(w)
}

// retryLater schedules another attempt at a start that failed, and reports
// whether there is one: the delay doubles until the time is up, with a last
// attempt then.
func (m *Machine) retryLater(w *worker) bool {
	if m.phase != phaseRun || w.terminate {
		return false
	}
	if w.failingSince.IsZero() {
		w.failingSince = m.now
	}
	last := w.failingSince.Add(retryFor)
	if !m.now.Before(last) {
		return false
	}
	// As long as it has been failing is what doubling comes to.
	w.notBefore = m.now.Add(max(firstRetry, m.now.Sub(w.failingSince)))
	if w.notBefore.After(last) {
		w.notBefore = last
	}
	return true
}

// logStartFailure says what could not be forked, in words of the error, which
// names the executable.
func (m *Machine) logStartFailure(what string, err error) {
	e := elog.AsErrorData(err, elog.Log)
	e.Message = "could not fork " + what + ": " + e.Message
	m.emit(Log{e})
}

// Admits reports whether a worker with this start time may start while the real
// server is in this state. Mirrors bgworker_should_start_now, with the state of
// the server for that of the cluster.
func Admits(server shmem.ServerState, at plugins.StartTime) bool {
	switch at {
	case plugins.StartAtPostmasterStart:
		return true
	case plugins.StartAtConsistentState:
		return isReachable(server)
	default:
		return server == shmem.ServerReadWrite
	}
}
