package lifecycle

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// Slot is a slot as shared memory has it. Tests write to it what children would.
type Slot struct {
	InUse, Terminate bool
	Pid              int
	Worker           plugins.BackgroundWorker
}

// Process is a child, from when it is asked for until it is reaped.
type Process struct {
	Worker *Worker // nil: an auxiliary process
	Aux    string
	Pid    int // 0: the request is unanswered

	missedHangup bool // there was a SIGHUP while it had no pid
	replaced     bool // its pid has gone to another: it is dead, but not reaped
}

// Worker is a registered worker.
type Worker struct {
	Def    plugins.BackgroundWorker
	Slot   int
	Static bool

	process   *Process // or nil
	unstarted bool     // its slot has said -1 since it was registered
	terminate bool
	pid       int      // what its slot should say
	waiter    *Process // to be notified, or nil

	crashedAt    time.Time // zero: it did not crash
	notBefore    time.Time // of the host's own making
	failingSince time.Time // a start is being repeated since then

	loss     Loss
	lostAt   time.Time
	losses   int
	serverAt time.Time // the server it knows
	spawned  time.Time // its last process

	report shmem.WorkerReport
}

// Model is the whole host.
type Model struct {
	Slots     []Slot
	Total     int64 // the slot count that shared memory states
	Workers   []*Worker
	Processes []*Process
	Sessions  int // of clients, that shared memory states

	now     time.Time
	effects []Effect
	begun   bool
	Exited  bool

	settings Settings
	server   shmem.ServerState
	serverAt time.Time // which server; zero: not known yet

	auxiliaries []string
	auxAt       map[string]time.Time // the last start of each

	mode       Mode
	stopping   bool      // workers are told to go, and nothing starts
	auxTold    bool      // auxiliary processes too
	cycle      bool      // a crash cycle is under way
	stopSince  time.Time // when children were told
	enforced   bool      // worker_stop_timeout is over
	killAt     time.Time // the end of patience, while it is to come
	killed     bool      // it has come
	sayAt      time.Time // when to say who is waited for
	lockFileAt time.Time // when to look at the lock file
	lookAt     time.Time // when to look at the slots without being told to
	status     string

	starts   int  // of this pass
	passOver bool // until the next Tick
}

// Settings are what the host acts upon.
type Settings struct {
	StopTimeout       time.Duration
	CrashScope        string // cluster, auto or worker
	RestartAfterCrash bool
}

// Mode is a shutdown mode.
type Mode int

// The modes.
const (
	No Mode = iota
	Smart
	Fast
	Immediate
)

func (m Mode) String() string { return [...]string{"no", "smart", "fast", "immediate"}[m] }

// New returns a host that has not begun yet.
func New(slots int, static []plugins.BackgroundWorker, auxiliaries ...string) *Model {
	m := &Model{
		Slots: make([]Slot, slots), Total: int64(slots), auxiliaries: auxiliaries, auxAt: map[string]time.Time{},
		settings: Settings{CrashScope: "auto", RestartAfterCrash: true},
	}
	for _, def := range static {
		def.NotifyPid = 0
		m.Workers = append(m.Workers, &Worker{Def: def, Static: true, unstarted: true})
	}
	return m
}

// Effect is something that the host must do.
type Effect struct {
	Text   string
	Chains []string // effects of one chain come in their order
}

func (m *Model) do(text string, chains ...string) {
	m.effects = append(m.effects, Effect{text, chains})
}

func (m *Model) log(format string, args ...any) {
	m.do("LOG: "+fmt.Sprintf(format, args...), "log")
}

func (m *Model) debug(w *Worker, format string, args ...any) {
	m.do("DEBUG1: "+fmt.Sprintf(format, args...), w.chain())
}

func (w *Worker) chain() string { return fmt.Sprint("slot ", w.Slot) }

func (w *Worker) never() bool { return w.Def.RestartTime == plugins.NeverRestart }

// Running tells whether normal operation goes on: workers are registered and
// started.
func (m *Model) Running() bool { return m.begun && !m.stopping && !m.cycle && !m.Exited }

// Crashing tells whether a crash cycle is under way.
func (m *Model) Crashing() bool { return m.cycle }

// Step lets an event happen at a time and returns what follows.
func (m *Model) Step(now time.Time, event func()) []Effect {
	if m.Exited {
		return nil
	}
	m.now, m.effects = now, nil
	event()
	m.follow()
	return m.effects
}

// follow does all that is due now.
func (m *Model) follow() {
	if m.cycle && len(m.Processes) == 0 && m.mode == No && m.settings.RestartAfterCrash {
		m.beginAnew()
	}
	m.endWithSessions()
	m.startAuxiliaries()
	m.startWorkers()
	m.endPatience()
	m.endWithWorkers()
	m.enforceStopTimeout()
	m.sayWhoIsWaitedFor()
	m.lookAtLockFile()
	m.writeStatus()
	m.exitIfDone()
}

// newestFirst is the order of PostgreSQL's list: the last registered is first.
func (m *Model) newestFirst() []*Worker {
	list := slices.Clone(m.Workers)
	slices.Reverse(list)
	return list
}

func (m *Model) inSlot(i int) *Worker {
	for _, w := range m.Workers {
		if w.Slot == i {
			return w
		}
	}
	return nil
}

// living returns the process that has a pid now, or nil.
func (m *Model) living(pid int) *Process {
	for _, p := range m.Processes {
		if pid != 0 && p.Pid == pid && !p.replaced {
			return p
		}
	}
	return nil
}

// publish writes the pid of a worker to its slot.
func (m *Model) publish(w *Worker, pid int) {
	w.unstarted, w.pid = false, pid
	m.setPid(w.Slot, pid)
}

func (m *Model) setPid(slot, pid int) {
	m.Slots[slot].Pid = pid
	m.do(fmt.Sprintf("slot %d: pid %d", slot, pid), fmt.Sprint("slot ", slot))
}

func (m *Model) release(slot int, def *plugins.BackgroundWorker) {
	m.Slots[slot].InUse = false
	text := fmt.Sprint("release slot ", slot)
	if def.Flags&plugins.ClassParallel != 0 {
		text += " (parallel)"
	}
	m.do(text, fmt.Sprint("slot ", slot))
}

// notify wakes up whoever waits for the worker in a slot.
func (m *Model) notify(slot int, waiter *Process) {
	if waiter != nil {
		m.do(fmt.Sprint("notify ", waiter.Pid), fmt.Sprint("slot ", slot))
	}
}

// forget ends a registration. Notifying is the caller's.
func (m *Model) forget(w *Worker) {
	m.release(w.Slot, &w.Def)
	m.debug(w, "unregistering background worker %q", w.Def.Name)
	m.Workers = slices.DeleteFunc(m.Workers, func(other *Worker) bool { return other == w })
}

func (m *Model) signal(p *Process, name string) {
	if p.Pid != 0 {
		m.do(fmt.Sprintf("%s to %d", name, p.Pid), fmt.Sprint(name, p.Pid))
	}
}

func (m *Model) signalAll(name string) {
	for _, p := range m.Processes {
		m.signal(p, name)
	}
}
