package postmaster

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/shmem"
)

// Event is something that happened outside the core. The shell hands events to
// [Machine.Step] one at a time, and executes the commands of one step before
// it takes the next.
type Event interface{ apply(m *Machine) }

// Started says that shared memory is ready. It is given once, before any event
// that a child could cause.
type Started struct{}

// SlotsChanged says that a child has registered a worker or asked for one to
// end: PMSIGNAL_BACKGROUND_WORKER_CHANGE. Slots are those that may have changed,
// in ascending order; nil: nobody knows which. They come out of shared memory,
// and each is one of the array.
type SlotsChanged struct{ Slots []int }

// ServerStateChanged says what the server monitor has published. It is given
// for every publication, also when nothing is different: to a worker that lost
// the server any news is news.
type ServerStateChanged struct {
	State   shmem.ServerState
	Started time.Time // pg_postmaster_start_time(); zero while it is unknown
}

// Spawned answers a [Spawn]. There is exactly one answer to each. The shell
// holds the child back until the step is over: a worker that it registers must
// find its pid known here, or its notify pid is not valid.
type Spawned struct {
	Child     ChildID
	Pid       int
	Places    []string // where the shell found the library that a worker's function is in; they mean nothing to the core, but the same library has one in common
	Err       error    // why there is no process, or nil
	Transient bool     // Err may go away by itself: EAGAIN, ENOMEM, EMFILE, ETXTBSY
}

// Exited says that a child is gone and reaped. It follows the child's
// [Spawned].
type Exited struct {
	Child    ChildID
	Pid      int
	Status   ExitStatus
	Ready    bool   // the child had reported READY
	Clean    bool   // the child had left its clean mark
	Critical bool   // the child held a lock in shared memory, or was inside a critical section
	SQLState string // of the error that ended the child's main function, or empty
	Message  string // of that error
	Activity string // what the child was running, or empty
	Failure  error  // why the shell ended it before it was a proper child, or nil
	Limit    Limit  // that it had come near
}

// Limit says, in sentences, what limit a child came near before it crashed, and
// what to do about it. It may have crashed for another reason. Both are empty if
// it came near none.
type Limit struct{ Detail, Hint string }

// ExitStatus says how a process ended.
type ExitStatus struct {
	Signaled bool
	Code     int         // unless Signaled
	Signal   unix.Signal // if Signaled
	CoreDump bool
}

// String returns the status as a log line ends with it: "exited with exit code
// 1", or "was terminated by signal 9: Killed".
func (s ExitStatus) String() string {
	if s.Signaled {
		return fmt.Sprintf("was terminated by signal %d: %s", int(s.Signal), strsignal(s.Signal))
	}
	return fmt.Sprintf("exited with exit code %d", s.Code)
}

// ShutdownRequested asks the host to stop. The shell has new sessions refused
// before.
type ShutdownRequested struct{ Mode ShutdownMode }

// SessionsEnded says that the gateway's last session has gone while new ones are
// refused: Config.Sessions is to be asked again.
type SessionsEnded struct{}

// ReloadRequested is a SIGHUP to the postmaster.
type ReloadRequested struct{}

// Configured gives the settings that the core acts upon, before [Started] and
// after each [Reload].
type Configured struct {
	WorkerStopTimeout time.Duration // worker_stop_timeout; 0: wait for ever
	CrashScope        CrashScope    // crash_scope
	RestartAfterCrash bool          // restart_after_crash
}

// LockFileInvalid says that the lock file is not ours any more.
type LockFileInvalid struct{}

// Tick says that the time of [Machine.NextWake] has come.
type Tick struct{}
