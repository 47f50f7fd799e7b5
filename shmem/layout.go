package shmem

import (
	"fmt"
	"hash/fnv"
	"reflect"
	"sync"
	"sync/atomic"
)

// Sizes of the fixed-width strings of the segment, in bytes, including a
// terminating NUL.
const (
	NameSize     = 96   // BGW_MAXLEN
	ExtraSize    = 128  // BGW_EXTRALEN
	PathSize     = 1024 // MAXPGPATH
	ActivitySize = 1024 // track_activity_query_size
	EventSize    = 64   // NAMEDATALEN, of a wait event's name
	MessageSize  = 256  // of the error that ended a process
)

// MaxSlots is the upper bound of max_worker_processes (MAX_BACKENDS).
const MaxSlots = 262143

// version changes when the meaning of a field changes while its place does
// not; the layout hash notices every other change by itself.
const version = 1

// magic opens every segment: "PGXHSHM1" read as a big-endian number.
const magic = 0x504758_4853484d31

// header is the first page of the segment. What stands above the line is
// written once, before any child exists; what stands below is shared mutable
// state, one atomic word each.
type header struct {
	magic       uint64
	version     uint32
	headerSize  uint32
	layoutHash  uint64
	incarnation uint64
	size        uint64
	slotsOffset uint64
	procsOffset uint64
	tombsOffset uint64
	slotCount   uint32
	procCount   uint32
	postmaster  int32
	_           uint32
	// ---
	totalSlots        atomic.Uint32 // what BackgroundWorkerStateChange compares; never used as a bound
	slotLock          atomic.Uint32 // BackgroundWorkerLock: 0, or the pid of the holder
	parallelRegister  atomic.Uint32
	parallelTerminate atomic.Uint32
	serverState       atomic.Uint32
	_                 uint32
	serverStarted     atomic.Int64 // pg_postmaster_start_time(), microseconds since 1970
	pmSignals         [numPMSignals]atomic.Uint32
	buried            atomic.Uint32                  // how many tombs were ever used
	serverNews        news                           // why the server can't be used
	changes           [changeBits / 64]atomic.Uint64 // hints at slots that have changed: see changes.go
	sessions          atomic.Uint64                  // of clients: the gateway's pid, and how many: see sessions.go
	refusal           atomic.Uint64                  // new sessions are refused
	reload            reloadBox                      // the library to be loaded again: see reload.go
}

// slot mirrors BackgroundWorkerSlot.
type slot struct {
	inUse      atomic.Uint32
	pid        atomic.Int32
	terminate  atomic.Uint64 // the request for the end of a generation: see keyOf
	gate       atomic.Uint64 // the request to open the gate of a generation: see keyOf
	generation atomic.Uint64
	worker     descriptor
	report     report
}

// report is a WorkerReport. The postmaster alone writes it.
type report struct {
	changeCount atomic.Uint32 // the seqlock: odd while the postmaster writes
	restarts    uint32
	exitCode    int32
	exitSignal  int32
	registered  int64 // microseconds since 1970, 0 for none, as those below
	started     int64
	exited      int64
	nextStart   int64
	lostServer  uint32
	asked       uint32 // askedToEnd, askedToDrain
	sqlState    [8]byte
	message     [MessageSize]byte
}

// descriptor mirrors BackgroundWorker. It is written by whoever owns the slot
// (see slots.go) and only then published by a store to inUse.
type descriptor struct {
	name        [NameSize]byte
	typ         [NameSize]byte
	library     [PathSize]byte
	function    [NameSize]byte
	flags       uint32
	startTime   int32
	restartTime int32
	notifyPid   int32
	mainArg     int64
	request     int64 // not 0: the worker is held at its gate
	extra       [ExtraSize]byte
}

// news is a text that one process writes and others read.
type news struct {
	changeCount atomic.Uint32 // the seqlock: odd while it is written
	text        [MessageSize]byte
	_           uint32
}

// tomb is the last report on a worker that was unregistered. The postmaster
// alone writes it.
type tomb struct {
	buriedAt int64 // microseconds since 1970
	worker   descriptor
	report   report // its changeCount guards the whole tomb
}

// Tombs is how many unregistered workers are remembered: the last ones.
const Tombs = 64

// proc is the record of one child process, as PGPROC and PgBackendStatus are
// in PostgreSQL. The postmaster resets it before the child exists; from then
// on the child writes it, except for its pid.
type proc struct {
	pid       atomic.Int32
	kind      atomic.Uint32
	latch     atomic.Uint32
	flags     atomic.Uint32
	exitState atomic.Uint64 // SQLSTATE of the error that ended the process, five ASCII bytes
	startedAt atomic.Int64  // microseconds since 1970

	// The seqlock of what follows: odd while the child writes.
	changeCount   atomic.Uint32
	activityState uint32
	activitySince int64
	waitClass     atomic.Uint32
	databaseOID   uint32
	backendPid    int32  // of the session
	roleOID       uint32 // that the session has become
	waitEvent     [EventSize]byte
	database      [EventSize]byte
	activity      [ActivitySize]byte
	exitMessage   [MessageSize]byte // of the error that ended the process; written before exitState
}

// layoutHash digests name, type, offset and size of every field of every
// structure in the segment, so that two programs that would read the same
// bytes differently never share them.
var layoutHash = sync.OnceValue(func() uint64 {
	h := fnv.New64a()
	for _, t := range [...]reflect.Type{
		reflect.TypeFor[header](), reflect.TypeFor[slot](), reflect.TypeFor[descriptor](), reflect.TypeFor[report](), reflect.TypeFor[news](), reflect.TypeFor[reloadBox](), reflect.TypeFor[tomb](), reflect.TypeFor[proc](),
		reflect.TypeFor[sharedCounts](), reflect.TypeFor[statistics](), reflect.TypeFor[Statistics](), reflect.TypeFor[tallies](), reflect.TypeFor[histogram](),
	} {
		fmt.Fprintf(h, "%s %d %d;", t.Name(), t.Size(), t.Align())
		for i := range t.NumField() {
			f := t.Field(i)
			fmt.Fprintf(h, "%s %s %d %d;", f.Name, f.Type, f.Offset, f.Type.Size())
		}
	}
	return h.Sum64()
})

// pageSize aligns the parts of the segment; it is a property of the layout,
// not of the machine.
const pageSize = 4096

// geometry is where the parts of a segment lie. The postmaster computes it
// from its settings and never reads it back from memory that children write.
type geometry struct {
	slots, procs             int
	slotsOffset, procsOffset int
	tombsOffset              int
	countsOffset             int
	size                     int
}

func newGeometry(slots, procs int) geometry {
	g := geometry{slots: slots, procs: procs, slotsOffset: pageSize}
	g.procsOffset = alignUp(g.slotsOffset + slots*slotSize)
	g.tombsOffset = alignUp(g.procsOffset + procs*procSize)
	g.countsOffset = alignUp(g.tombsOffset + Tombs*tombSize)
	g.size = alignUp(g.countsOffset + countsSize)
	return g
}

func alignUp(n int) int { return (n + pageSize - 1) &^ (pageSize - 1) }
