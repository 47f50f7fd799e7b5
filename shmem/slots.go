package shmem

import (
	"errors"
	"fmt"

	"github.com/pgexthost/pgexthost/internal/failpoint"
)

// Values of a slot's pid that are no process.
const (
	// InvalidPid says that the worker has not been started yet.
	InvalidPid = -1
	// DeadPid says that the worker is not running (any more).
	DeadPid = 0
)

// Descriptor is a worker's description as the slots hold it: the C struct
// BackgroundWorker without its function pointer.
type Descriptor struct {
	Name, Type, Library, Function     string
	Flags                             uint32
	StartTime, RestartTime, NotifyPid int32
	MainArg                           int64
	Request                           int64 // of a registration that is held, or 0; whoever made it knows what it means
	Extra                             [ExtraSize]byte
}

func (d *descriptor) store(from *Descriptor) {
	putString(d.name[:], from.Name)
	putString(d.typ[:], from.Type)
	putString(d.library[:], from.Library)
	putString(d.function[:], from.Function)
	d.flags, d.startTime, d.restartTime, d.notifyPid = from.Flags, from.StartTime, from.RestartTime, from.NotifyPid
	d.mainArg, d.request, d.extra = from.MainArg, from.Request, from.Extra
}

func (d *descriptor) load() Descriptor {
	return Descriptor{
		Name: safeString(d.name[:]), Type: safeString(d.typ[:]),
		Library: safeString(d.library[:]), Function: safeString(d.function[:]),
		Flags: d.flags, StartTime: d.startTime, RestartTime: d.restartTime, NotifyPid: d.notifyPid,
		MainArg: d.mainArg, Request: d.request, Extra: d.extra,
	}
}

// PostmasterSlots is the postmaster's side of the slot array. None of its
// methods takes a lock or trusts what it reads. One goroutine of one process
// uses it.
type PostmasterSlots struct {
	head        *header
	slots       []slot
	incarnation uint64
}

// PostmasterSlots returns the postmaster's side of the slot array.
func (s *Segment) PostmasterSlots() PostmasterSlots {
	return PostmasterSlots{head: s.head, slots: s.slots, incarnation: s.incarnation}
}

// Len returns the number of slots as the postmaster knows it.
func (p PostmasterSlots) Len() int { return len(p.slots) }

// TotalSlots returns the number of slots as shared memory states it. Anything
// but Len means that somebody has overwritten it.
func (p PostmasterSlots) TotalSlots() int64 { return int64(p.head.totalSlots.Load()) }

// InUse reports whether the slot is the postmaster's responsibility. All that
// was written to the slot before it was handed over is visible once InUse has
// returned true.
func (p PostmasterSlots) InUse(i int) bool { return p.slots[i].inUse.Load() != 0 }

// Generation returns the generation of the slot, which tells the registration
// that has it from those that had it before.
func (p PostmasterSlots) Generation(i int) uint64 { return p.slots[i].generation.Load() }

// ReportedPid returns what SetPid has reported last, unless somebody has overwritten it.
func (p PostmasterSlots) ReportedPid(i int) int { return int(p.slots[i].pid.Load()) }

// Terminate reports whether somebody asked for the worker of a generation of the
// slot to end for good.
func (p PostmasterSlots) Terminate(i int, generation uint64) bool {
	return p.slots[i].terminate.Load() == keyOf(p.incarnation, generation)
}

// keyOf is what a slot's terminate word holds when the end of the given generation
// is asked for, and its gate word when that generation's gate is open. A request
// names whom it means, so that one that comes late is not another worker's; and it
// is hard to come by without wanting it, so that no garbage ends a worker, or lets
// one begin. It is never 0.
func keyOf(incarnation, generation uint64) uint64 { return (incarnation ^ generation) | 1<<63 }

// Descriptor copies the slot's descriptor defensively: a child may be writing
// garbage over it at this moment.
func (p PostmasterSlots) Descriptor(i int) Descriptor { return p.slots[i].worker.load() }

// Init hands a slot to a statically registered worker, with generation 0. Only
// valid before the first child exists. Mirrors BackgroundWorkerShmemInit.
func (p PostmasterSlots) Init(i int, d Descriptor) {
	s := &p.slots[i]
	s.worker.store(&d)
	s.terminate.Store(0)
	s.pid.Store(InvalidPid)
	s.generation.Store(0)
	s.inUse.Store(1)
}

// SetPid reports the pid of the slot's worker, or DeadPid. Mirrors
// ReportBackgroundWorkerPID without its notification.
func (p PostmasterSlots) SetPid(i, pid int) { p.slots[i].pid.Store(int32(pid)) }

// Restore puts a slot right that the postmaster knows and somebody has written
// to: garbage that made it look free, and perhaps a child that took it because of
// that. It is the postmaster's all the while, whatever the slot says, so there
// is nobody to agree with. A child that is claiming it at this moment may undo a
// part of that; but then it wakes the postmaster, which restores the slot again.
//
// The generation comes first: from then on an intruder's handle stands for
// nobody, and finds its worker stopped rather than the pid that comes next. It
// stays so, provided that Skip comes before Release.
func (p PostmasterSlots) Restore(i int, generation uint64, pid int, d Descriptor) {
	s := &p.slots[i]
	s.generation.Store(generation)
	s.worker.store(&d)
	s.pid.Store(int32(pid))
	s.inUse.Store(1)
}

// Skip makes the slot's generations go on from the given one, so that handles
// that were given out in between stand for nobody. Only valid while the slot is
// in use.
func (p PostmasterSlots) Skip(i int, generation uint64) { p.slots[i].generation.Store(generation) }

// Release gives the slot back to the backends. The count of terminated
// parallel workers is raised before the slot becomes free, so that nobody sees
// a free slot and a cap that is still reached. The report goes with the worker:
// the next one is not to be taken for what this was before the postmaster has
// seen it. Mirrors the end of ForgetBackgroundWorker.
func (p PostmasterSlots) Release(i int, parallel bool) {
	if parallel {
		p.head.parallelTerminate.Add(1)
	}
	s := &p.slots[i]
	beginChange(&s.report.changeCount)
	s.inUse.Store(0)
	s.report.store(&WorkerReport{})
	s.report.changeCount.Add(1)
}

// HandleStatus is what is known of the worker behind a slot and generation.
// Mirrors BgwHandleStatus.
type HandleStatus int

// The statuses of a handle.
const (
	HandleStarted       HandleStatus = iota // BGWH_STARTED
	HandleNotYetStarted                     // BGWH_NOT_YET_STARTED
	HandleStopped                           // BGWH_STOPPED
)

// String returns the status in words.
func (s HandleStatus) String() string {
	switch s {
	case HandleStarted:
		return "started"
	case HandleNotYetStarted:
		return "not yet started"
	case HandleStopped:
		return "stopped"
	}
	return "unknown"
}

// Errors of Claim.
var (
	// ErrNoFreeSlot says that every slot is in use.
	ErrNoFreeSlot = errors.New("every background worker slot is in use")
	// ErrParallelLimit says that as many parallel workers as allowed are
	// registered.
	ErrParallelLimit = errors.New("too many parallel workers are registered")
)

// BackendSlots is the children's side of the slot array. Claim,
// RequestTermination and the end of TypeByPid serialise on the slot lock; Pid
// takes none.
type BackendSlots struct {
	segment *Segment
	head    *header
	slots   []slot
	self    int
}

// BackendSlots returns the children's side of the slot array for the process
// self, whose pid the slot lock shows while it is held.
func (s *Segment) BackendSlots(self int) BackendSlots {
	return BackendSlots{segment: s, head: s.head, slots: s.slots, self: self}
}

// Claim registers a worker in the first free slot. It returns ErrNoFreeSlot when
// there is none, and ErrParallelLimit when the worker is parallel and
// maxParallel of its kind are registered and not yet terminated (the counters
// wrap). The caller wakes the postmaster afterwards. Mirrors
// RegisterDynamicBackgroundWorker.
func (b BackendSlots) Claim(d Descriptor, parallel bool, maxParallel uint32) (index int, generation uint64, err error) {
	b.lock()
	defer b.unlock()
	failpoint.Here(failpoint.ClaimLocked)
	// The postmaster raises the second counter at any moment. To miss that is to
	// have come a moment earlier.
	if parallel && b.head.parallelRegister.Load()-b.head.parallelTerminate.Load() >= maxParallel && b.parallelInUse() >= maxParallel {
		return 0, 0, ErrParallelLimit
	}
	for i := range b.slots {
		s := &b.slots[i]
		if s.inUse.Load() != 0 {
			continue
		}
		s.worker.store(&d)
		failpoint.Here(failpoint.ClaimDescribed)
		s.pid.Store(InvalidPid)
		failpoint.Here(failpoint.ClaimPid)
		generation = s.generation.Add(1)
		failpoint.Here(failpoint.ClaimGeneration)
		// PostgreSQL clears terminate here. Ours names a generation, so that what
		// is left of another one's does no harm.
		if parallel {
			b.head.parallelRegister.Add(1)
			failpoint.Here(failpoint.ClaimCounted)
		}
		// The order of the stores above is nobody's business, this one's is:
		// Go's atomics are sequentially consistent, so the postmaster that sees
		// it sees everything above it.
		s.inUse.Store(1)
		failpoint.Here(failpoint.ClaimInUse)
		return i, generation, nil
	}
	return 0, 0, ErrNoFreeSlot
}

// ParallelFlag is the flag of a registration that makes its worker parallel
// (BGWORKER_CLASS_PARALLEL).
const ParallelFlag = 0x10

// parallelInUse counts the parallel workers, under the slot lock. The counters
// are right unless somebody has overwritten one of them; so nobody is refused on
// their word alone. In PostgreSQL, none would be registered ever again.
func (b BackendSlots) parallelInUse() (n uint32) {
	for i := range b.slots {
		if s := &b.slots[i]; s.inUse.Load() != 0 && s.worker.flags&ParallelFlag != 0 {
			n++
		}
	}
	return n
}

// Pid returns the status of the worker behind slot index and generation, and
// its pid if it is running. There is no lock: the pid counts if the slot is in
// use, and of this generation, after it was read. Generations only grow, and a
// handle is not out before its slot is in use, so the pid was this worker's
// when it was read. That in_use comes first matters: Claim overwrites the pid of
// a free slot before it raises the generation. Mirrors GetBackgroundWorkerPid,
// which takes the lock.
func (b BackendSlots) Pid(index int, generation uint64) (HandleStatus, int, error) {
	if err := b.check(index); err != nil {
		return HandleStopped, 0, err
	}
	s := &b.slots[index]
	pid := int(s.pid.Load())
	switch {
	case s.inUse.Load() == 0, s.generation.Load() != generation, pid == DeadPid, pid < InvalidPid:
		return HandleStopped, 0, nil
	case pid == InvalidPid:
		return HandleNotYetStarted, 0, nil
	}
	return HandleStarted, pid, nil
}

// RequestTermination asks for the end of the worker behind slot index and
// generation unless the slot has been recycled, and reports whether it did. The caller wakes the postmaster
// afterwards. Mirrors TerminateBackgroundWorker.
func (b BackendSlots) RequestTermination(index int, generation uint64) (bool, error) {
	if err := b.check(index); err != nil {
		return false, err
	}
	b.lock()
	defer b.unlock()
	failpoint.Here(failpoint.TerminateLocked)
	s := &b.slots[index]
	if s.generation.Load() != generation {
		return false, nil
	}
	s.terminate.Store(keyOf(b.segment.incarnation, generation))
	failpoint.Here(failpoint.TerminateSet)
	return true, nil
}

// Terminating reports whether the worker behind slot index and generation shall
// end for good and still has its slot, running or not. There is no lock, for the
// reasons given at Pid.
func (b BackendSlots) Terminating(index int, generation uint64) (bool, error) {
	if err := b.check(index); err != nil {
		return false, err
	}
	s := &b.slots[index]
	asked := s.terminate.Load() == keyOf(b.segment.incarnation, generation)
	return asked && s.inUse.Load() != 0 && s.generation.Load() == generation, nil
}

func (b BackendSlots) check(index int) error {
	if index < 0 || index >= len(b.slots) {
		return fmt.Errorf("background worker slot %d is out of range (0 .. %d)", index, len(b.slots)-1)
	}
	return nil
}
