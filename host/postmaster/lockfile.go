package postmaster

import (
	"time"

	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// lockFileEvery is how often the lock file is looked at.
const lockFileEvery = time.Minute

// watchLockFile has the lock file looked at. Mirrors what ServerLoop does once a
// minute.
func (m *Machine) watchLockFile() {
	if m.lockFileAt.IsZero() {
		m.lockFileAt = m.now.Add(lockFileEvery)
	}
	if isOver(m.lockFileAt, m.now) {
		m.checkLockFile()
	}
}

func (m *Machine) checkLockFile() {
	m.lockFileAt = m.now.Add(lockFileEvery)
	m.emit(CheckLockFile{})
}

// apply gives up the directory: somebody has taken the lock file away, perhaps
// to start another host, or the directory is gone.
func (ev LockFileInvalid) apply(m *Machine) {
	if m.shutdown == ImmediateShutdown {
		return
	}
	m.logf(elog.Log, "performing immediate shutdown because data directory lock file is invalid")
	ShutdownRequested{Mode: ImmediateShutdown}.apply(m)
}

// announce writes the status to the lock file if it has changed. Mirrors the
// calls of AddToDataDirLockFile with PM_STATUS_*.
func (m *Machine) announce() {
	status := lockfile.Ready
	switch {
	case m.phase == phaseInit:
		return // the shell has made the file with the first status
	case m.shutdown != NoShutdown:
		status = lockfile.Stopping
	case m.server.state == shmem.ServerStandby:
		status = lockfile.Standby
	}
	if status != m.status {
		m.status = status
		m.emit(SetStatus{Status: status})
	}
}
