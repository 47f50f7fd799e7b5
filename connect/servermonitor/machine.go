package servermonitor

import (
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// How long the monitor waits between two looks.
const (
	standbyPause   = time.Second            // until the next question whether the standby was promoted
	readWritePause = 10 * time.Second       // until the next question whether the server still answers
	startingPause  = 250 * time.Millisecond // while the server says that it starts; doubles every 20 looks
	// A server logs each login that it refuses, and may recover for hours.
	longestStartingPause = 2 * time.Second
	firstPause           = 100 * time.Millisecond // after the first failure; doubles
	longestPause         = 5 * time.Second
	// A server that refuses the login logs each attempt, and will not change
	// its mind until a person does something.
	firstRefusedPause   = time.Second
	longestRefusedPause = 30 * time.Second
)

// startingPatience is after how many looks, 5 seconds, a server that starts up is
// news though the log says already that the host waits.
const startingPatience = 20

// mostReasons bounds the log lines about one outage, should the reasons differ
// each time after all.
const mostReasons = 20

// step is what follows from a look at the server.
type step struct {
	state   shmem.ServerState
	started time.Time       // zero where not known
	publish bool            // state or start time are news
	reason  string          // why the server can't be used; empty: it can
	report  *elog.ErrorData // what to log, or nil
	pause   time.Duration   // until the next look
}

// machine makes steps of what is found. It has no clock, no connection and no
// process; jitter returns numbers from 0 up to 1.
type machine struct {
	jitter func() float64

	published bool // anything at all
	up        bool // the last look found the server up
	stable    bool // and so did the one before
	state     shmem.ServerState
	started   time.Time
	failures  int             // in a row, of the same kind
	kind      failureKind     // of the last one
	said      map[string]bool // topics of the reasons logged in this outage
	lostBy    string          // the reason that began it
}

// found is the step after a look that found the server up.
func (m *machine) found(f facts) step {
	s := step{state: shmem.ServerReadWrite, started: f.Started, pause: readWritePause}
	if f.InRecovery {
		s.state, s.pause = shmem.ServerStandby, standbyPause
	}
	s.publish = !m.published || s.state != m.state || !s.started.Equal(m.started)
	if s.publish || !m.up {
		s.report = acceptingReport(s.state, f)
	}
	if m.stable = m.up; m.stable {
		m.failures = 0
	}
	m.published, m.up, m.state, m.started = true, true, s.state, s.started
	m.said, m.lostBy = nil, ""
	return s
}

// failed is the step after a look that failed, or after the loss of the session.
func (m *machine) failed(err error) step {
	f := classify(err)
	s := step{state: f.state, reason: f.news(), publish: !m.published || f.state != m.state}
	switch {
	case m.stable: // look again at once: that may tell more
		s.report, m.lostBy = lostReport(f), f.reason
	case m.up:
		s.report, s.pause, m.lostBy = lostReport(f), m.nextPause(f), f.reason
	default:
		s.pause = m.nextPause(f)
		s.report = m.news(f)
	}
	m.published, m.up, m.stable, m.state = true, false, false, s.state
	return s
}

// reconfigured forgets what belongs to the settings of before. The state stays
// published until the new settings have been tried.
func (m *machine) reconfigured() {
	m.up, m.stable, m.failures, m.said, m.lostBy = false, false, 0, nil, ""
}

// news returns the report of a reason not yet given in this outage, or nil. A
// server that starts up soon after it was not there at all is no news: that is
// how the wait ends.
func (m *machine) news(f failure) *elog.ErrorData {
	briefly := f.kind == starting && len(m.said) > 0 && m.failures < startingPatience
	if f.reason == m.lostBy || m.said[f.topic] || len(m.said) >= mostReasons || briefly {
		return nil
	}
	if m.said == nil {
		m.said = make(map[string]bool)
	}
	m.said[f.topic] = true
	return waitingReport(f)
}

// nextPause doubles with each failure and adds up to a quarter at random, so
// that the hosts of a failed server do not return in step.
func (m *machine) nextPause(f failure) time.Duration {
	if f.kind != m.kind {
		m.kind, m.failures = f.kind, 0
	}
	m.failures++
	first, longest, doublings := firstPause, longestPause, m.failures-1
	switch f.kind {
	case starting:
		first, longest, doublings = startingPause, longestStartingPause, m.failures/startingPatience
	case refused:
		first, longest = firstRefusedPause, longestRefusedPause
	case away:
	}
	pause := min(first<<min(doublings, 10), longest)
	return pause + time.Duration(m.jitter()*float64(pause)/4)
}
