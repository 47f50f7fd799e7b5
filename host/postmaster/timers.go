package postmaster

import "time"

// longestSleep is how long ServerLoop sleeps at most.
const longestSleep = 60 * time.Second

// NextWake returns when to deliver [Tick] at the latest if nothing else
// happens. That is never more than a minute after the last step, and never
// before it, because each step does all that is due, or has it done at once. There is none before the
// first step and after [Exit]. Mirrors DetermineSleepTime.
func (m *Machine) NextWake() (t time.Time, ok bool) {
	if m.now.IsZero() || m.phase == phaseExited {
		return time.Time{}, false
	}
	wake := m.now.Add(longestSleep)
	sooner := func(at time.Time) {
		if at.Before(wake) {
			wake = at
		}
	}
	if isOver(m.lookAt, m.now) {
		return m.now, true // only a Tick looks
	}
	for _, at := range [...]time.Time{m.killAt, m.lockFileAt, m.lookAt, m.stop.reportAt} {
		if !at.IsZero() {
			sooner(at)
		}
	}
	switch m.phase {
	case phaseRun:
		m.auxiliaryTimers(sooner)
		m.workerTimers(sooner)
	case phaseWaitWorkers:
		if at := m.stop.deadline(); !at.IsZero() && m.shutdown < ImmediateShutdown {
			sooner(at)
		}
	}
	return wake, true
}

func (m *Machine) auxiliaryTimers(sooner func(time.Time)) {
	for _, a := range m.auxiliaries {
		if a.child == nil {
			sooner(a.next)
		}
	}
}

// workerTimers looks for the worker that may start first. A worker that waits
// for something else than time does not count, and while a start is unanswered
// none does.
func (m *Machine) workerTimers(sooner func(time.Time)) {
	switch {
	case m.pass.spawning != nil:
		return
	case m.pass.over:
		sooner(m.now)
		return
	}
	for _, w := range m.workers {
		if m.mayStart(w) {
			sooner(w.due())
		}
	}
}
