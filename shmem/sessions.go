package shmem

// SetSessions publishes how many SQL sessions clients have through the gateway,
// under the pid of that process. Only the gateway calls it, from one goroutine at
// a time. It wakes the postmaster when the last session has gone while new ones
// are refused, and else never: sessions come and go by the thousand.
func (s *Segment) SetSessions(a *Alarm, gateway, sessions int) {
	s.head.sessions.Swap(uint64(uint32(gateway))<<32 | uint64(uint32(sessions)))
	if sessions == 0 && s.RefusesSessions() {
		s.SendPostmasterSignal(a, PMSignalSessionsEnded)
	}
}

// Sessions returns what the gateway with that pid has published last. What another
// has left behind, and what can only be garbage, counts as no session.
func (s *Segment) Sessions(gateway int) int {
	pid, sessions := s.LastSessions()
	if pid != gateway {
		return 0
	}
	return sessions
}

// LastSessions returns what a gateway has published last, and its pid. One that was
// killed has taken nothing back.
func (s *Segment) LastSessions() (gateway, sessions int) {
	word := s.head.sessions.Load()
	if uint32(word) > MaxSlots {
		return 0, 0
	}
	return int(uint32(word >> 32)), int(uint32(word))
}

// RefuseSessions has the gateway let in no new clients, for good. Only the
// postmaster calls it, and before it asks for Sessions: either it sees the last
// session go, or the gateway sees that it wants to be woken. So each of the two
// writes before it reads, with Swap: under the race detector a Store may be seen
// after a Load that follows it.
func (s *Segment) RefuseSessions() { s.head.refusal.Swap(s.refusal()) }

// RefusesSessions reports whether the postmaster has called RefuseSessions.
func (s *Segment) RefusesSessions() bool { return s.head.refusal.Load() == s.refusal() }

// refusal is a value that garbage does not have.
func (s *Segment) refusal() uint64 { return s.incarnation | 1 }
