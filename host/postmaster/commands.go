package postmaster

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// Command is something the shell has to do. The commands of one step are
// executed in their order.
type Command interface{ command() }

// Spawn starts a process, without waiting for it: an exec can hang. A [Spawned]
// must follow. Mirrors fork_process and what it is called for.
type Spawn struct {
	Child  ChildID
	Aux    string                   // the auxiliary process to start, or empty
	Worker plugins.BackgroundWorker // the worker to start, if Aux and Preload are empty
	Slot   int                      // the worker's slot, or -1

	Generation uint64    // of the slot
	Ready      time.Time // since when the worker could be started
	Preload    string    // the library whose Init is to be run again, or empty
}

// Signal sends a signal to a child and its process group. The shell holds
// SIGTERM, SIGINT and SIGHUP back until the child is ready. Mirrors
// signal_child.
type Signal struct {
	Child ChildID
	Pid   int
	Sig   unix.Signal
}

// Notify sends SIGUSR1 to a child that waits for news of a worker.
type Notify struct{ Pid int }

// Poke sets the latch of an auxiliary process, which must look again at what
// it watches and publish what it finds, whatever that is.
type Poke struct{ Aux string }

// InitSlot hands a slot to a statically registered worker.
type InitSlot struct {
	Slot   int
	Worker plugins.BackgroundWorker
}

// SetSlotPid publishes the pid of a slot's worker, 0 for none.
type SetSlotPid struct{ Slot, Pid int }

// RestoreSlot puts a slot right that somebody has overwritten.
type RestoreSlot struct {
	Slot, Pid  int
	Generation uint64
	Worker     plugins.BackgroundWorker
}

// RestoreHeader puts right what never changes in shared memory.
type RestoreHeader struct{}

// ReleaseSlot gives a slot back, and raises the count of terminated parallel
// workers before, if Parallel is set. If Generation is not 0, the slot's
// generations go on from there.
type ReleaseSlot struct {
	Slot       int
	Parallel   bool
	Generation uint64
}

// SetReport publishes what there is to know of a slot's worker.
type SetReport struct {
	Slot   int
	Report shmem.WorkerReport
}

// Bury keeps the last report on a worker that is about to be unregistered, for
// those who ask later what became of it.
type Bury struct {
	Worker plugins.BackgroundWorker
	Report shmem.WorkerReport
}

// Reinitialize makes shared memory anew, with empty slots and a new
// incarnation, after a crash. There is no child any more. Mirrors
// reset_shared.
type Reinitialize struct{}

// BreakLocks frees the locks in shared memory that a dead child has left
// locked.
type BreakLocks struct{ Pid int }

// Log writes a record to the log.
type Log struct{ *elog.ErrorData }

// Reload re-reads the configuration files. A [Configured] must follow it.
type Reload struct{}

// SetStatus writes the status line of the lock file. Mirrors
// AddToDataDirLockFile(LOCK_FILE_LINE_PM_STATUS, …).
type SetStatus struct{ Status lockfile.Status }

// CheckLockFile looks whether the lock file is still there and ours. If it is
// not, a [LockFileInvalid] must follow. Mirrors RecheckDataDirLockFile.
type CheckLockFile struct{}

// Exit ends the host. No command follows it. Mirrors ExitPostmaster.
type Exit struct{ Code int }

func (Spawn) command()         {}
func (Signal) command()        {}
func (Notify) command()        {}
func (Poke) command()          {}
func (InitSlot) command()      {}
func (SetSlotPid) command()    {}
func (ReleaseSlot) command()   {}
func (RestoreSlot) command()   {}
func (RestoreHeader) command() {}
func (Log) command()           {}
func (Reload) command()        {}
func (SetStatus) command()     {}
func (CheckLockFile) command() {}
func (SetReport) command()     {}
func (Bury) command()          {}
func (Reinitialize) command()  {}
func (BreakLocks) command()    {}
func (Exit) command()          {}
