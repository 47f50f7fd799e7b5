package failpoint

// Point is a named place in the program.
type Point uint8

// The points, in the order of a life.
const (
	// Start-up, in the host.

	StartLocked     Point = iota // the directory is locked, and nothing in it is ours
	LockFileWritten              // the lock file is complete, but has no name
	LockFileMade
	RemnantsRemoved // of a host that was killed
	SharedMemoryMade
	PreloadRead // and the event loop does not know it
	FileWritten // one that is to replace another: postmaster.opts, then the settings
	TracesLeft
	CoreStarting
	StatusWriting // of the lock file: ready, stopping
	StatusWritten
	ReloadRead       // and the news not yet told to others
	LibraryReloading // its Init has run again, and nothing has changed
	LibraryReloaded  // all is done, and nobody was told

	// The start of a child, in the host.

	Forking
	Forked        // on the spawner's thread: nobody else knows yet
	Born          // the event loop knows its process
	SlotPidStored // and nobody was notified of that; 0 when a process has ended
	Notifying     // about the process that is notified
	Notified
	Greeting
	StartupSent
	HelloRead
	Greeted // the signals that waited for it are next

	// The start and the end of a child, in the child.

	ChildStarted
	StartupRead
	Attached
	HelloSending // all handlers are in place
	HelloSent
	Preloaded
	AtGate  // and the gate may be open
	Unready // its main function is found
	Ready
	ResultSending // of the preload child
	ResultSent
	ServerStateFound // the server monitor has news, and told nobody
	ServerStateTold
	SocketRemoved // the one that a killed control server has left
	SocketMade
	RequestRead     // of a client that waits for an answer
	SessionOpened   // with the server
	SessionRecorded // in the process record
	Dying           // SIGTERM has been noticed, and main knows nothing of it
	MainReturned
	ExitErrorLeft // in the process record
	Unmarked      // all is done but the clean mark
	Marked

	// Registration and termination, in the child that asks for it; the lock is held up to LockReleased.

	ClaimLocked
	ClaimDescribed
	ClaimPid
	ClaimGeneration
	ClaimCounted // as a parallel worker
	ClaimInUse
	LockReleased // whoever sleeps on it still does
	Claimed      // the postmaster knows nothing of it
	ReasonLeft
	AlarmRung
	HeldRegistered // and the caller does not know it
	GateOpened     // and the worker was not woken
	TerminateLocked
	TerminateSet
	TerminateAsked  // the postmaster knows nothing of it
	ReloadRequested // of a library, and the postmaster knows nothing of it

	// What becomes of slots and children, in the host.

	ChangesTaken // and no slot looked at
	SlotReleasing
	SlotReleased // and nobody was notified of that
	ExitSeen     // the child is a zombie
	LastWordsRead
	Reaped // and the core knows nothing of it

	// The crash cycle, in the host.

	LocksBreaking
	LocksBroken
	Remaking      // all children are gone
	SegmentRemade // the old one is still there
	Remade
	SlotInitialised // at the start, too

	// Signals and shutdown, in the host.

	Signalling // to a child
	Signalled
	ShutdownAsked
	Finishing // the core is done
	LifelineClosed
	TracesRemoved   // all but the lock file
	LockFileRemoved // the directory is still locked

	numPoints
)

// All returns every point.
func All() []Point {
	all := make([]Point, numPoints)
	for i := range all {
		all[i] = Point(i)
	}
	return all
}

// String returns the point's name, which is how [Variable] calls it.
func (p Point) String() string {
	if p < numPoints {
		return names[p]
	}
	return "no point"
}

// names is in no ordinary program, because nothing there asks for a name.
var names = [numPoints]string{
	StartLocked:      "start: directory locked",
	LockFileWritten:  "start: lock file written",
	LockFileMade:     "start: lock file made",
	RemnantsRemoved:  "start: remnants removed",
	SharedMemoryMade: "start: shared memory made",
	PreloadRead:      "start: preload result read",
	FileWritten:      "start: file written",
	TracesLeft:       "start: traces left",
	CoreStarting:     "start: core starting",
	StatusWriting:    "status: writing",
	StatusWritten:    "status: written",
	ReloadRead:       "reload: files read",
	LibraryReloading: "library: reloading",
	LibraryReloaded:  "library: reloaded",
	Forking:          "launch: forking",
	Forked:           "launch: forked",
	Born:             "launch: born",
	SlotPidStored:    "launch: slot pid stored",
	Notifying:        "launch: notifying",
	Notified:         "launch: notified",
	Greeting:         "handshake: greeting",
	StartupSent:      "handshake: startup sent",
	HelloRead:        "handshake: hello read",
	Greeted:          "handshake: greeted",
	ChildStarted:     "child: started",
	StartupRead:      "child: startup read",
	Attached:         "child: attached",
	HelloSending:     "child: hello sending",
	HelloSent:        "child: hello sent",
	Preloaded:        "child: libraries preloaded",
	AtGate:           "child: at gate",
	Unready:          "child: unready",
	Ready:            "child: ready",
	ResultSending:    "child: result sending",
	ResultSent:       "child: result sent",
	ServerStateFound: "child: server state found",
	ServerStateTold:  "child: server state told",
	SocketRemoved:    "child: socket removed",
	SocketMade:       "child: socket made",
	RequestRead:      "child: request read",
	SessionOpened:    "child: session opened",
	SessionRecorded:  "child: session recorded",
	Dying:            "child: dying",
	MainReturned:     "child: main returned",
	ExitErrorLeft:    "child: exit error left",
	Unmarked:         "child: unmarked",
	Marked:           "child: marked",
	ClaimLocked:      "claim: locked",
	ClaimDescribed:   "claim: descriptor stored",
	ClaimPid:         "claim: pid stored",
	ClaimGeneration:  "claim: generation raised",
	ClaimCounted:     "claim: counted",
	ClaimInUse:       "claim: in use",
	LockReleased:     "slot lock: released",
	Claimed:          "claim: done",
	ReasonLeft:       "alarm: reason left",
	AlarmRung:        "alarm: rung",
	HeldRegistered:   "gate: held",
	GateOpened:       "gate: opened",
	TerminateLocked:  "terminate: locked",
	TerminateSet:     "terminate: set",
	TerminateAsked:   "terminate: done",
	ReloadRequested:  "library: reload requested",
	ChangesTaken:     "changes: reason taken",
	SlotReleasing:    "slot: releasing",
	SlotReleased:     "slot: released",
	ExitSeen:         "exit: seen",
	LastWordsRead:    "exit: last words read",
	Reaped:           "exit: reaped",
	LocksBreaking:    "crash: locks breaking",
	LocksBroken:      "crash: locks broken",
	Remaking:         "crash: remaking shared memory",
	SegmentRemade:    "crash: segment remade",
	Remade:           "crash: shared memory remade",
	SlotInitialised:  "crash: slot initialised",
	Signalling:       "signal: sending",
	Signalled:        "signal: sent",
	ShutdownAsked:    "shutdown: asked for",
	Finishing:        "shutdown: finishing",
	LifelineClosed:   "shutdown: lifeline closed",
	TracesRemoved:    "shutdown: traces removed",
	LockFileRemoved:  "shutdown: lock file removed",
}
