package postmaster

import (
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// auxiliary is an auxiliary process: supervised, but without a slot, and
// outside the launch pass.
type auxiliary struct {
	name  string
	child *child    // nil: no process, and none being started
	next  time.Time // no start before this
}

// launchAuxiliaries starts each auxiliary process that does not run: at once,
// but not more often than once a second. Mirrors LaunchMissingBackgroundProcesses.
func (m *Machine) launchAuxiliaries() {
	if m.phase != phaseRun {
		return
	}
	for _, a := range m.auxiliaries {
		if a.child != nil || m.now.Before(a.next) {
			continue
		}
		a.next = m.now.Add(restartFloor)
		a.child = m.spawn(Spawn{Aux: a.name, Slot: -1})
		a.child.auxiliary = a
	}
}

func (m *Machine) auxiliaryStartFailed(c *child, ev Spawned) {
	m.buried(c)
	m.statistics.StartFailures++
	c.auxiliary.child = nil
	m.logStartFailure("\""+c.auxiliary.name+"\" process", ev.Err)
}

// auxiliaryExited notes the end of an auxiliary process, which nothing but a
// shutdown makes ordinary.
func (m *Machine) auxiliaryExited(c *child, ev Exited) {
	m.statistics.AuxiliaryExits++
	c.auxiliary.child = nil
	out, level := ev.outcome(), elog.Log
	if out == exitDone && m.shutdown != NoShutdown && m.phase != phaseRun {
		level = elog.Debug1
	}
	m.logExit(level, c.auxiliary.name+" process", c.pid, ev)
	if out == exitCrashed {
		m.childCrashed(c, ev)
	}
}
