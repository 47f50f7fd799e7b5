package postmaster

import (
	"github.com/pgexthost/pgexthost/shmem"
)

// Statistics returns what the machine has counted since [Started], through crash
// cycles, and what the host is about. The shell publishes it: it is no command,
// since nothing waits for it.
func (m *Machine) Statistics() shmem.Statistics {
	s := m.statistics
	s.Phase = m.hostPhase()
	return s
}

func (m *Machine) hostPhase() shmem.HostPhase {
	switch {
	case m.shutdown != NoShutdown:
		return shmem.HostStopping
	case m.phase == phaseInit:
		return shmem.HostStarting
	case m.fatal:
		return shmem.HostRecovering
	case m.phase == phaseRun:
		return shmem.HostRunning
	}
	return shmem.HostStopping
}

// countExit counts the end of a worker's process.
func (m *Machine) countExit(ev Exited, out outcome) {
	if s := ev.Status; s.Signaled {
		last := uint(len(m.statistics.ExitSignals) - 1)
		m.statistics.ExitSignals[min(uint(s.Signal), last)]++
	} else {
		m.statistics.ExitCodes[uint8(s.Code)]++
	}
	if out == exitCrashed && !m.killsWorkers() {
		m.statistics.Crashes++
	}
}

// killsWorkers reports whether the host itself ends workers in ways that look
// like a crash.
func (m *Machine) killsWorkers() bool {
	return m.fatal || m.shutdown == ImmediateShutdown || m.stop.enforced
}
