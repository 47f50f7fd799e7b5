package postmaster

import (
	"time"

	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// ServerMonitor is the name of the auxiliary process that watches the real
// server, and that the core pokes when a worker has lost it.
const ServerMonitor = "server monitor"

// Gateway is the name of the auxiliary process through which clients have SQL
// sessions, for which a smart shutdown waits.
const Gateway = "gateway"

// ChildID is the core's own name for a child, from its [Spawn] until its
// [Exited]. Unlike a pid it is never used again.
type ChildID uint64

// Slots is the slot array as the postmaster may read it. Any child may have
// written anything to it, at any moment: see shmem.PostmasterSlots.
type Slots interface {
	Len() int          // as the postmaster knows it
	TotalSlots() int64 // as shared memory states it
	InUse(i int) bool
	Pid(i int) int
	Generation(i int) uint64
	Terminate(i int, generation uint64) bool
	Descriptor(i int) plugins.BackgroundWorker
}

// Config is what a [Machine] is made from.
type Config struct {
	Slots Slots
	// Static are the statically registered workers in the order of their
	// registration. They have passed every check, and there are no more of them
	// than slots.
	Static []plugins.BackgroundWorker
	// Registrars say which library has registered each of Static, for
	// [LibraryReloaded]; nil if none will be loaded again.
	Registrars []string
	// Auxiliary are the names of the auxiliary processes.
	Auxiliary []string
	// Sessions says how many SQL sessions clients have through the gateway with that
	// pid, as far as shared memory knows: see shmem.Segment.Sessions. Nil: there is
	// no gateway.
	Sessions func(gateway int) int
	// Personality says by whose rules a registration is sane; zero is 18.
	Personality plugins.Personality
}

// Machine is the postmaster's state: what registered, what runs, and what is
// to happen next. Use [New] to make one. It is owned by one goroutine.
type Machine struct {
	cfg      Config
	now      time.Time // of the current step
	out      []Command // of the current step
	phase    phase
	shutdown ShutdownMode
	server   server

	// workers mirrors BackgroundWorkerList. Its head is the last element, so
	// that pushing is appending, and so that a walk from the head, which goes
	// backwards, may remove the worker it stands on.
	workers     []*worker
	bySlot      map[int]*worker
	auxiliaries []*auxiliary

	children  map[ChildID]*child
	live      map[int]ChildID // by pid: the children that may be signalled
	lastChild ChildID

	pass   launchPass
	stop   stop
	killAt time.Time // when to lose patience in an immediate shutdown or a crash cycle
	killed bool      // patience is lost

	crashScope        CrashScope
	restartAfterCrash bool
	fatal             bool // FatalError: a crash cycle is under way

	reloading     *child         // that runs the Init of a library again, or nil
	announced     []announcement // static workers that came with a reload, and have no slot yet
	lastAnnounced uint64

	touched    []*worker        // whose reports this step has changed
	statistics shmem.Statistics // but for its Phase

	status     lockfile.Status // what the lock file says; empty: what the shell wrote
	lockFileAt time.Time       // when to look at the lock file
	lookAt     time.Time       // when to look at the slots though nobody says that they have changed
}

// phase mirrors pmState, less the states of the real server.
type phase int

const (
	phaseInit            phase = iota // PM_INIT: shared memory is not ready
	phaseRun                          // PM_RUN
	phaseWaitWorkers                  // PM_WAIT_BACKENDS
	phaseWaitAuxiliaries              // PM_SHUTDOWN
	phaseWaitDead                     // PM_WAIT_BACKENDS in a crash cycle: for everybody
	phaseExited                       // PM_NO_CHILDREN
)

// child is one process, from Spawn to Exited. It is a worker's, an auxiliary's,
// or runs the Init of a library.
type child struct {
	id        ChildID
	pid       int // 0 until Spawned
	worker    *worker
	auxiliary *auxiliary
	preload   bool
	reload    bool // a SIGHUP came while the pid was unknown
}

// New returns a machine that waits for [Started].
func New(cfg Config) *Machine {
	m := &Machine{
		cfg:      cfg,
		bySlot:   make(map[int]*worker),
		children: make(map[ChildID]*child),
		live:     make(map[int]ChildID),

		restartAfterCrash: true,
	}
	for _, name := range cfg.Auxiliary {
		m.auxiliaries = append(m.auxiliaries, &auxiliary{name: name})
	}
	return m
}

// Step tells the machine of an event and returns what is to be done about it,
// in order. Mirrors one round of ServerLoop.
func (m *Machine) Step(now time.Time, ev Event) []Command {
	if m.phase == phaseExited {
		return nil
	}
	m.now, m.out = now, nil
	ev.apply(m)
	m.awaitSessions() // before a gateway that is gone has a successor
	m.advanceCrashCycle()
	m.launchAuxiliaries()
	m.launchWorkers()
	m.advanceShutdown()
	m.watchLockFile()
	m.announce()
	m.publishReports()
	m.end()
	return m.out
}

// apply begins normal operation: the slots get their first contents, and the
// end of the step starts the first children.
func (ev Started) apply(m *Machine) {
	if m.phase != phaseInit {
		return
	}
	m.phase = phaseRun
	m.statistics.Began = m.now.UnixMicro()
	m.lookAt = m.now.Add(lookEvery)
	m.registerStatic()
}

// apply lets the next launch pass begin. One that is under way keeps its count.
func (ev Tick) apply(m *Machine) {
	if isOver(m.lookAt, m.now) {
		m.backgroundWorkerStateChange(nil)
	}
	if m.pass.spawning == nil {
		m.pass = launchPass{}
	}
}

// apply mirrors process_pm_reload_request.
func (ev ReloadRequested) apply(m *Machine) {
	if m.shutdown >= FastShutdown {
		return
	}
	m.logf(elog.Log, "received SIGHUP, reloading configuration files")
	m.emit(Reload{})
	m.checkLockFile() // the files may be another host's by now
	for c := range m.allChildren {
		c.reload = c.pid == 0
		m.signal(c, sighup)
	}
}

func (m *Machine) emit(c Command) { m.out = append(m.out, c) }

func (m *Machine) logf(level elog.Level, format string, args ...any) {
	m.emit(Log{elog.New(level, "", format, args...)})
}
