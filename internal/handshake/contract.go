package handshake

import (
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// ProtocolVersion is the version of this contract. Both sides must have the
// same.
const ProtocolVersion = 1

// ABIVersion is the version of what package plugins promises to libraries that
// are executables of their own: the magic block's version.
const ABIVersion = 1

// EnvChild marks a process as a child of a host. The child removes it from its
// environment at once, so that its own children are none.
const EnvChild = "PGEXTHOST_CHILD"

// The descriptors a child inherits, beside the standard ones.
const (
	FDSegment  = 3 + iota // the shared memory segment
	FDLifeline            // a pipe's reading end; its EOF is the postmaster's death
	FDAlarm               // the eventfd that wakes the postmaster
	FDSocket              // the handshake socket
	FDDirLock             // keeps the data directory locked while any child lives
	FDCount               // one more than the last
)

// Startup is the first message, from the postmaster: who the child is, and the
// settings the postmaster runs with. Mirrors BackendParameters and the start-up
// data of EXEC_BACKEND.
type Startup struct {
	Protocol   int
	LayoutHash uint64
	Kind       shmem.ProcKind
	Proc       int               // index of the child's process record
	Auxiliary  string            // name of the auxiliary process, or ""
	Worker     *shmem.Descriptor // the postmaster's private copy of the worker's entry, or nil
	Slot       int               // of that worker
	Generation uint64            // of the slot
	Preload    []string          // shared_preload_libraries, split
	Settings   []guc.Item        // what differs from the defaults, as the postmaster has it
	ConfigFile string            // the file to read again on SIGHUP
	CheckOnly  bool              // of a preload child: report what there is to log, and don't log it
}

// Hello is the child's answer: what it was built with, or why it can't go on.
type Hello struct {
	Protocol   int
	LayoutHash uint64
	ABI        int
	GoVersion  string
	Error      string // not empty: the child has given up
}

// PreloadResult is what a preload child brings back from running _PG_init of
// every library. Nothing in it is trusted.
type PreloadResult struct {
	Workers  []shmem.Descriptor // in order of registration
	Settings []guc.Definition
	Reserved []string // prefixes of MarkGUCPrefixReserved
	Error    *elog.ErrorData
	Refused  []Refusal         // registrations that were refused
	Reports  []*elog.ErrorData // with CheckOnly: what is wrong with settings and registrations
}

// Refusal is a static worker that was not registered, and why.
type Refusal struct {
	Worker  shmem.Descriptor
	Message string
}
