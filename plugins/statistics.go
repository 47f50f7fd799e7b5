package plugins

import (
	"time"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/shmem"
)

// HostStatistics returns what the host has counted since it was started, and
// false if it has not said so or somebody has overwritten that: PingPostmaster
// then makes it right.
func (w *Worker) HostStatistics() (shmem.Statistics, bool) {
	if w.segment == nil {
		return shmem.Statistics{}, false
	}
	return w.segment.Statistics()
}

// HostTallies returns what the processes of the host have counted since it was
// started.
func (w *Worker) HostTallies() shmem.Tallies {
	if w.segment == nil {
		return shmem.Tallies{}
	}
	return w.segment.Tallies()
}

// ClientSessions returns how many SQL sessions clients have through the gateway, as it
// has said last. One that was killed takes back what it has said when it is there again.
func (w *Worker) ClientSessions() int {
	if w.segment == nil {
		return 0
	}
	_, sessions := w.segment.LastSessions()
	return sessions
}

// SlotCount returns how many workers can be registered: max_worker_processes.
func (w *Worker) SlotCount() int {
	if w.segment == nil {
		return 0
	}
	return w.slots().Len()
}

// PingPostmaster asks for a sign of life of the postmaster's event loop, and
// returns the number of the question, for PostmasterAnswered. The latch of the
// control server is set when there is an answer. Only a worker with shared
// memory may ask.
func (w *Worker) PingPostmaster() (number uint64) { return w.segment.Ping(w.alarm) }

// PostmasterAnswered reports whether a question of PingPostmaster was answered.
func (w *Worker) PostmasterAnswered(number uint64) bool { return w.segment.Answered(number) }

// CountControlRequest counts a request. Only the control server calls it.
func (w *Worker) CountControlRequest(kind shmem.ControlRequest) { w.segment.CountRequest(kind) }

// countLaunch counts a worker that is about to begin with its main function, and
// how long that took since it could be started.
func (w *Worker) countLaunch(ready int64) {
	if took, known := handshake.SinceClock(ready); known && w.segment != nil {
		w.segment.CountLaunch(took)
	}
}

// countConnect counts an attempt to open the session.
func (w *Worker) countConnect(took time.Duration, err error) {
	switch {
	case w.segment == nil:
	case err != nil:
		w.segment.CountConnectFailure()
	default:
		w.segment.CountConnect(took)
	}
}
