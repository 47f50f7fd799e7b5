package shmem

import (
	"time"

	"golang.org/x/sys/unix"
)

// WorkerReport is what the postmaster tells about a slot's worker, beside its
// pid, for those who ask what became of it. Nobody acts upon it.
type WorkerReport struct {
	Registered time.Time // when the postmaster took the worker over
	Restarts   int       // starts after the first
	Started    time.Time // when the last process was started; zero: none was
	Exited     time.Time // when the last process ended; zero: none did
	ExitCode   int       // of that process, unless ExitSignal is set
	ExitSignal unix.Signal
	SQLState   string    // of the error that ended it, or empty
	Message    string    // of that error, or why there is no process
	NextStart  time.Time // when the worker may start at the earliest; zero: as soon as its start time allows
	LostServer bool      // it waits for news of the server that it lost
	Terminated bool      // somebody has asked for its end
	Draining   bool      // a reload of its library has asked its process to end; another follows
}

// What a worker that runs was asked for, as bits.
const (
	askedToEnd = 1 << iota
	askedToDrain
)

// SetReport publishes the report on the slot's worker.
func (p PostmasterSlots) SetReport(i int, r WorkerReport) {
	w := &p.slots[i].report
	beginChange(&w.changeCount)
	w.store(&r)
	w.changeCount.Add(1)
}

// store copies all but the change count, which the caller brackets it with.
func (w *report) store(r *WorkerReport) {
	w.registered, w.started = toMicros(r.Registered), toMicros(r.Started)
	w.exited, w.nextStart = toMicros(r.Exited), toMicros(r.NextStart)
	w.restarts, w.exitCode, w.exitSignal = uint32(r.Restarts), int32(r.ExitCode), int32(r.ExitSignal)
	w.lostServer, w.asked = toWord(r.LostServer), toWord(r.Terminated)*askedToEnd|toWord(r.Draining)*askedToDrain
	putString(w.sqlState[:], r.SQLState)
	putString(w.message[:], r.Message)
}

// SlotInfo is a copy of a slot that is in use, with what is known of its worker.
type SlotInfo struct {
	Slot       int
	Generation uint64
	Pid        int // InvalidPid, DeadPid, or that of the worker
	Terminate  bool
	GateOpen   bool // of no meaning if the worker was not registered to be held
	Worker     Descriptor
	Report     WorkerReport
}

// Info copies a slot, and reports false if it is not in use, or has changed
// hands too often to be copied. A report that can't be had in one piece, because
// its change count is garbage, is a torn one. It takes no lock.
func (b BackendSlots) Info(i int) (SlotInfo, bool) {
	s := &b.slots[i]
	for attempt := range readAttempts {
		generation, count := s.generation.Load(), s.report.changeCount.Load()
		if s.inUse.Load() == 0 {
			return SlotInfo{}, false
		}
		info := SlotInfo{
			Slot: i, Generation: generation, Pid: int(s.pid.Load()),
			Terminate: s.terminate.Load() == keyOf(b.segment.incarnation, generation),
			GateOpen:  s.gate.Load() == keyOf(b.segment.incarnation, generation),
			Worker:    s.worker.load(), Report: s.report.load(),
		}
		// A swap, as in ProcRecord.read.
		whole := s.report.changeCount.CompareAndSwap(count, count) && count&1 == 0
		if (whole || attempt == readAttempts-1) && s.inUse.Load() != 0 && s.generation.Load() == generation {
			return info, true
		}
	}
	return SlotInfo{}, false
}

// RunningFlags returns the registration flags of a slot's worker, and whether it
// runs. Both are as of some moment: whoever acts upon them asks Info.
func (b BackendSlots) RunningFlags(i int) (flags uint32, running bool) {
	s := &b.slots[i]
	if s.inUse.Load() == 0 || s.pid.Load() <= 0 {
		return 0, false
	}
	return s.worker.flags, true
}

// Len returns the number of slots.
func (b BackendSlots) Len() int { return len(b.slots) }

func (r *report) load() WorkerReport {
	return WorkerReport{
		Registered: fromMicros(r.registered), Started: fromMicros(r.started),
		Exited: fromMicros(r.exited), NextStart: fromMicros(r.nextStart),
		Restarts: int(r.restarts), ExitCode: int(r.exitCode), ExitSignal: unix.Signal(r.exitSignal),
		SQLState: safeString(r.sqlState[:]), Message: safeString(r.message[:]), LostServer: r.lostServer != 0,
		Terminated: r.asked&askedToEnd != 0, Draining: r.asked&askedToDrain != 0,
	}
}

func toWord(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

func toMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// lastMicros is the end of the last year that RFC 3339 can write, and with it
// JSON.
var lastMicros = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC).UnixMicro()

// fromMicros reads a time that anybody may have overwritten. One that can't be
// is none.
func fromMicros(us int64) time.Time {
	if us <= 0 || us > lastMicros {
		return time.Time{}
	}
	return time.UnixMicro(us)
}

// Buried is the last that is known of a worker that is not registered any more.
type Buried struct {
	At     time.Time // when it was unregistered
	Worker Descriptor
	Report WorkerReport
}

// Bury keeps the last report on a worker, in the place of the oldest one that
// is kept. Only the postmaster calls it.
func (s *Segment) Bury(b Buried) {
	n := s.head.buried.Load()
	t := &s.tombs[n%Tombs]
	beginChange(&t.report.changeCount)
	t.buriedAt = toMicros(b.At)
	t.worker.store(&b.Worker)
	t.report.store(&b.Report)
	t.report.changeCount.Add(1)
	s.head.buried.Store(n + 1)
}

// Buried returns what is kept of unregistered workers, the last one first.
func (s *Segment) Buried() []Buried {
	var all []Buried
	newest := s.head.buried.Load()
	for i := range min(newest, Tombs) {
		t := &s.tombs[(newest-1-i)%Tombs]
		for range readAttempts {
			count := t.report.changeCount.Load()
			b := Buried{At: fromMicros(t.buriedAt), Worker: t.worker.load(), Report: t.report.load()}
			if count&1 == 0 && t.report.changeCount.CompareAndSwap(count, count) {
				all = append(all, b)
				break
			}
		}
	}
	return all
}
