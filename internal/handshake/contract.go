package handshake

import (
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/limits"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// ProtocolVersion is the version of this contract. Both sides must have the
// same.
const ProtocolVersion = 1

// ABIVersion is the version of what package plugins promises to libraries that
// are executables of their own: the magic block's version.
const ABIVersion = 1

// Module is the path of this module, which the build information of every
// library that is an executable names.
const Module = "github.com/pgexthost/pgexthost"

// MagicBlock is in every executable whose main function can reach plugins.Main,
// and in no other, so that a host can tell without running it. Package library
// looks for it. Mirrors PG_MODULE_MAGIC.
const MagicBlock = "pgexthost magic block: protocol " + string(rune('0'+ProtocolVersion)) + ", plugin interface " + string(rune('0'+ABIVersion)) + "."

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
	Ready      int64             // when the worker could be started, as of ClockAt; 0: that is not known
	Preload    []string          // the libraries to initialize first, as parts of the program
	Library    *Library          // what the worker's or the preload child's library is, or nil
	Settings   []guc.Item        // what differs from the defaults, as the postmaster has it
	ConfigFile string            // the file to read again on SIGHUP
	CheckOnly  bool              // of a preload child: report what there is to log, and don't log it
	Registered int               // of a preload child: how many workers other libraries have registered
}

// Library is what the host has found under a library's name.
type Library struct {
	Name       string          // as it was asked for
	CompiledIn string          // its name within the host, if it is a part of it
	File       string          // the executable, if it is one: the child is running it
	Error      *elog.ErrorData // why it can't be loaded, if it can't
	Limits     *limits.Limits  // that the process has been started with, or nil
}

// Hello is the child's answer: what it was built with, or why it can't go on.
type Hello struct {
	Protocol   int
	LayoutHash uint64
	ABI        int
	GoVersion  string
	Error      string          // not empty: the child has given up
	Report     *elog.ErrorData // not nil: the program was not even executed, since this went wrong
}

// PreloadResult is what a preload child brings back from running _PG_init of
// every library. Nothing in it is trusted.
type PreloadResult struct {
	Workers   []shmem.Descriptor // in order of registration
	Settings  []guc.Definition
	Reserved  []string          // prefixes of MarkGUCPrefixReserved
	Error     *elog.ErrorData   // the library was not found, or its Init returned this
	Panic     *elog.ErrorData   // its Init panicked with this
	Library   string            // what it calls itself
	Functions []string          // that workers can start in
	Refused   []Refusal         // registrations that were refused
	Reports   []*elog.ErrorData // with CheckOnly: what is wrong with settings and registrations
}

// Refusal is a static worker that was not registered, and why.
type Refusal struct {
	Worker  shmem.Descriptor
	Message string
}
