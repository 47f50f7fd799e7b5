package shmem

import (
	"sync/atomic"
	"time"
)

// HostPhase says what a host is about, for those who ask whether it is ready.
type HostPhase uint64

// The phases.
const (
	HostStarting HostPhase = iota // no child was started yet
	HostRunning
	HostRecovering // a crash cycle is under way
	HostStopping
)

// String returns the phase in words.
func (p HostPhase) String() string {
	switch p {
	case HostStarting:
		return "starting"
	case HostRunning:
		return "running"
	case HostRecovering:
		return "recovering"
	case HostStopping:
		return "stopping"
	}
	return "unknown"
}

// Statistics is what the postmaster has counted since the host was started. It
// counts in its own memory; this is the copy that it publishes. There are only
// 64-bit words in it: see check.
type Statistics struct {
	Phase HostPhase
	Began int64 // when the host was started, microseconds since 1970

	Registered    uint64 // workers, static and dynamic
	Unregistered  uint64 // of those
	Starts        uint64 // of workers' processes
	Restarts      uint64 // of those, the ones after a worker's first
	StartFailures uint64 // of processes that could not be started, each attempt
	Crashes       uint64 // exits that count as a crash, but for those that the host itself has caused
	CrashCycles   uint64
	ExitCodes     [256]uint64 // exits of workers' processes, by code
	ExitSignals   [65]uint64  // and by the signal that ended them

	AuxiliaryStarts uint64 // of auxiliary processes
	AuxiliaryExits  uint64
}

// statistics is the published copy. The postmaster alone writes it. The check
// comes last, and fits nothing else: what is torn, or garbage, is no copy.
type statistics struct {
	check atomic.Uint64
	copy  Statistics
}

// checkOfWords ties words together, and to a segment. Whoever wants to can forge
// it, whoever does not won't.
func checkOfWords(words []uint64, seed uint64) uint64 {
	h := seed | 1
	for _, w := range words {
		h = (h ^ w) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	return h
}

// PublishStatistics shows the children what was counted. Only the postmaster
// calls it; it takes no lock and waits for nobody.
func (s *Segment) PublishStatistics(stats Statistics) {
	published := &s.shared.statistics
	published.check.Store(0)
	published.copy = stats
	published.check.Store(checkOfWords(wordsOf(&stats), s.incarnation))
}

// Statistics returns what the postmaster has published last. It reports false if
// there is nothing yet, or somebody has overwritten it: then it is right again
// when the postmaster has published the next time.
func (s *Segment) Statistics() (Statistics, bool) {
	published := &s.shared.statistics
	for range readAttempts {
		check := published.check.Load()
		stats := published.copy
		if check == checkOfWords(wordsOf(&stats), s.incarnation) {
			return stats, true
		}
	}
	return Statistics{}, false
}

// LatencyBounds are the upper bounds of the buckets of a histogram of durations.
// There is one more bucket, without bound.
var LatencyBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// histogram counts durations. Any child adds to it.
type histogram struct {
	buckets [len(LatencyBounds) + 1]atomic.Uint64
	micros  atomic.Uint64 // the sum
}

func (h *histogram) observe(d time.Duration) {
	d = max(d, 0)
	bucket := 0
	for bucket < len(LatencyBounds) && d > LatencyBounds[bucket] {
		bucket++
	}
	h.micros.Add(uint64(d.Microseconds()))
	h.buckets[bucket].Add(1)
}

// Histogram is a copy of a histogram of durations.
type Histogram struct {
	Buckets [len(LatencyBounds) + 1]uint64 // how many were within each bound, and not within the one before
	Sum     time.Duration
}

// plausible bounds what can be counted: a thousand events a second for a quarter
// of a million years, or, in microseconds, 285 years, which a time.Duration can
// hold. What is more is garbage.
const plausible = 1 << 53

func plausibly(n uint64) uint64 {
	if n >= plausible {
		return 0
	}
	return n
}

// load copies the counts. Garbage counts nothing.
func (h *histogram) load() (c Histogram) {
	for i := range h.buckets {
		c.Buckets[i] = plausibly(h.buckets[i].Load())
	}
	c.Sum = time.Duration(plausibly(h.micros.Load())) * time.Microsecond
	return c
}

func (h *histogram) store(c Histogram) {
	for i, n := range c.Buckets {
		h.buckets[i].Store(n)
	}
	h.micros.Store(uint64(c.Sum.Microseconds()))
}

// ControlRequest is a kind of request to the control server.
type ControlRequest int

// The kinds. The last stands for all that it does not know.
const (
	ControlPs ControlRequest = iota
	ControlWhy
	ControlLaunch
	ControlTerminate
	ControlReload
	ControlOther
	numControlRequests
)

// tallies are what children count, each for itself, by adding to these words.
type tallies struct {
	launch          histogram
	connect         histogram
	connectFailures atomic.Uint64
	requests        [numControlRequests]atomic.Uint64
	sessions        atomic.Uint64
}

// Tallies is a copy of what children have counted since the host was started.
// Whoever overwrites shared memory overwrites it, too; it is bounded then.
type Tallies struct {
	Launch          Histogram // from when a worker could be started to its main function
	Connect         Histogram // to open a worker's session
	ConnectFailures uint64
	Requests        [numControlRequests]uint64 // by ControlRequest
	Sessions        uint64                     // of clients through the gateway
}

// Tallies returns what children have counted.
func (s *Segment) Tallies() Tallies {
	shared := &s.shared.tallies
	t := Tallies{
		Launch: shared.launch.load(), Connect: shared.connect.load(), ConnectFailures: plausibly(shared.connectFailures.Load()),
		Sessions: plausibly(shared.sessions.Load()),
	}
	for i := range shared.requests {
		t.Requests[i] = plausibly(shared.requests[i].Load())
	}
	return t
}

// SetTallies goes on from what children have counted in another segment. The
// postmaster calls it after a crash, before there is a child of this segment.
func (s *Segment) SetTallies(t Tallies) {
	shared := &s.shared.tallies
	shared.launch.store(t.Launch)
	shared.connect.store(t.Connect)
	shared.connectFailures.Store(t.ConnectFailures)
	shared.sessions.Store(t.Sessions)
	for i, n := range t.Requests {
		shared.requests[i].Store(n)
	}
}

// CountLaunch counts a worker that has come to its main function, and how long
// that took.
func (s *Segment) CountLaunch(d time.Duration) { s.shared.tallies.launch.observe(d) }

// CountConnect counts a session that was opened, and how long that took.
func (s *Segment) CountConnect(d time.Duration) { s.shared.tallies.connect.observe(d) }

// CountConnectFailure counts a session that could not be opened.
func (s *Segment) CountConnectFailure() { s.shared.tallies.connectFailures.Add(1) }

// CountSession counts a client's session through the gateway.
func (s *Segment) CountSession() { s.shared.tallies.sessions.Add(1) }

// CountRequest counts a request to the control server.
func (s *Segment) CountRequest(kind ControlRequest) { s.shared.tallies.requests[kind].Add(1) }

// ping is how a child finds out whether the postmaster's event loop goes round.
type ping struct {
	asked    atomic.Uint64
	answered atomic.Uint64
}

// Ping asks the postmaster for a sign of life, wakes it, and returns the number
// of the question.
func (s *Segment) Ping(a *Alarm) uint64 {
	number := s.shared.ping.asked.Add(1)
	s.SendPostmasterSignal(a, PMSignalPing)
	return number
}

// AnswerPings answers all questions asked so far. Only the postmaster calls it.
func (s *Segment) AnswerPings() { s.shared.ping.answered.Store(s.shared.ping.asked.Load()) }

// Answered reports whether a question was answered. The numbers wrap.
func (s *Segment) Answered(number uint64) bool {
	return int64(s.shared.ping.answered.Load()-number) >= 0
}

// sharedCounts is the last part of a segment.
type sharedCounts struct {
	statistics statistics
	tallies    tallies
	ping       ping
}
