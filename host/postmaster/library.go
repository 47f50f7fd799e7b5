package postmaster

import (
	"slices"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// A library is loaded again in three steps, between which everything else goes
// on: its Init runs in a child, the shell looks at what that has brought, and the
// workers of the library get new processes. PostgreSQL has nothing like it.
//
//	LibraryReloadRequested ──► Spawn{Preload} ··· Spawned, Exited
//	                                                   │ the shell judges
//	     AnswerReload ◄── workers told to go ◄── LibraryReloaded
//
// A worker that is told to go is drained: it has the time that it needs, and what
// follows is no restart after an error but the same worker going on.

// LibraryReloadRequested asks for the Init of a library to be run again, in a
// child. The shell gives no other before it has seen the [AnswerReload].
type LibraryReloadRequested struct{ Name string }

// LibraryReloaded says that the child of a [Spawn] with Preload is gone, and has
// brought something that can be used.
type LibraryReloaded struct {
	Names  []string // by which the library is called
	Places []string // where it is and where it was: see [Spawned]
	// Registrar is what the static workers of the library have in
	// Config.Registrars. Empty: it is not preloaded, and registers none.
	Registrar string
	Static    []plugins.BackgroundWorker // those of now, in the order of registration; each has been checked
}

// AnswerReload answers a [LibraryReloadRequested]: Err says why nothing has
// changed, or Workers what becomes of the library's workers.
type AnswerReload struct {
	Err     error
	Workers []ReloadedWorker
}

func (AnswerReload) command() {}

// ReloadedWorker is a worker of a library that was loaded again.
type ReloadedWorker struct {
	Worker     plugins.BackgroundWorker
	Slot       int // -1: it is new
	Generation uint64
	Announced  uint64    // of a new one: see [Announced]
	Pid        int       // that is being drained, or 0
	Started    time.Time // when its last process was; zero: none was
	Fate       ReloadFate
	Changed    bool // its registration is another
}

// ReloadFate is what a reload means for a worker.
type ReloadFate string

// The fates.
const (
	FateRestart ReloadFate = "restart" // its process is drained, and it starts again
	FateStart   ReloadFate = "start"   // it had no process, and need not wait for its restart time any more
	FateGone    ReloadFate = "gone"    // it is not registered any more
	FateNew     ReloadFate = "new"     // announced: see Machine.announced
	FateKept    ReloadFate = "kept"    // it goes on with what it runs from: see keeps
)

// Announced is a new static worker that has no slot yet. The postmaster takes no
// lock and so can't take one; a child does that for it, and the registration is
// known again when it comes.
type Announced struct {
	Number uint64 // no other announcement has it
	Worker plugins.BackgroundWorker
}

// announcement is one, and the library that it is of.
type announcement struct {
	Announced
	registrar string
}

// Announced returns the new static workers that nobody has registered yet, in the
// order in which they are to be.
func (m *Machine) Announced() []Announced {
	var all []Announced
	for _, a := range m.announced {
		all = append(all, a.Announced)
	}
	return all
}

func (ev LibraryReloadRequested) apply(m *Machine) {
	if m.reloading != nil { // the shell has promised otherwise
		return
	}
	if err := m.refusesReload(); err != nil {
		m.emit(AnswerReload{Err: err})
		return
	}
	m.reloading = m.spawn(Spawn{Preload: ev.Name, Slot: -1})
	m.reloading.preload = true
}

// AcceptsReload reports whether a [LibraryReloaded] would find a host that runs,
// and otherwise returns the error of its answer.
func (m *Machine) AcceptsReload() error {
	if err := m.refusesReload(); err != nil {
		return err
	}
	return nil
}

func (m *Machine) refusesReload() *elog.ErrorData {
	switch {
	case m.shutdown != NoShutdown:
		return elog.New(elog.Error, elog.CannotConnectNow, "the host is shutting down")
	case m.phase != phaseRun:
		return elog.New(elog.Error, elog.CannotConnectNow, "the host is recovering from the crash of a worker")
	}
	return nil
}

// preloadStartFailed ends a reload that could not even begin.
func (m *Machine) preloadStartFailed(c *child, ev Spawned) {
	m.buried(c)
	m.reloading = nil
	m.emit(AnswerReload{Err: ev.Err})
}

// preloadExited notes the end of an Init. No way to end it harms others.
func (m *Machine) preloadExited(ev Exited) {
	m.reloading = nil
	if ev.Critical {
		m.emit(BreakLocks{Pid: ev.Pid})
	}
}

// apply gives the workers of the library their new processes.
func (ev LibraryReloaded) apply(m *Machine) {
	if err := m.refusesReload(); err != nil {
		m.emit(AnswerReload{Err: err})
		return
	}
	m.backgroundWorkerStateChange(nil) // one that was announced before may have come
	m.announced = slices.DeleteFunc(m.announced, func(a announcement) bool { return a.registrar == ev.Registrar })
	next, fresh := m.pair(ev)
	var told []ReloadedWorker
	for _, w := range slices.Clone(m.workers) {
		if w.terminate {
			continue
		}
		r := ReloadedWorker{Worker: w.def, Slot: w.slot, Generation: w.gen, Started: w.report.Started}
		if w.child != nil {
			r.Pid = w.child.pid
		}
		def, stays := next[w]
		if stays {
			r.Changed = !sameRegistration(*def, w.def)
		}
		switch {
		case !stays && w.isOf(ev.Registrar):
			r.Fate = FateGone
			m.endForGood(w)
		case r.Changed:
			r.Worker = *def
			m.redescribe(w, *def)
			r.Fate = m.beginAnew(w)
		case ev.concerns(w):
			r.Fate = m.beginAnew(w)
		default:
			continue
		}
		told = append(told, r)
	}
	for _, def := range fresh {
		m.lastAnnounced++
		m.announced = append(m.announced, announcement{Announced{m.lastAnnounced, def}, ev.Registrar})
		told = append(told, ReloadedWorker{Worker: def, Slot: -1, Announced: m.lastAnnounced, Fate: FateNew})
	}
	m.emit(AnswerReload{Workers: told})
}

// isOf reports whether a library has registered the worker.
func (w *worker) isOf(registrar string) bool {
	return w.static && registrar != "" && w.registrar == registrar
}

// concerns reports whether a worker runs from the library.
func (ev *LibraryReloaded) concerns(w *worker) bool {
	return slices.Contains(ev.Names, w.def.EntryLibrary()) ||
		slices.ContainsFunc(w.places, func(place string) bool { return slices.Contains(ev.Places, place) })
}

// pair finds out which static workers of a library are which of those that it
// registers now, by their names, and among namesakes by their order; fresh are
// the others.
func (m *Machine) pair(ev LibraryReloaded) (next map[*worker]*plugins.BackgroundWorker, fresh []plugins.BackgroundWorker) {
	known := make(map[string][]*worker)
	for _, w := range m.workers {
		if w.isOf(ev.Registrar) && !w.terminate {
			known[w.name()] = append(known[w.name()], w)
		}
	}
	next = make(map[*worker]*plugins.BackgroundWorker)
	for i := range ev.Static {
		def := &ev.Static[i]
		if namesakes := known[def.Name]; len(namesakes) > 0 {
			next[namesakes[0]], known[def.Name] = def, namesakes[1:]
		} else {
			fresh = append(fresh, *def)
		}
	}
	return next, fresh
}

// name is the worker's name, from its next start on.
func (w *worker) name() string {
	if w.next != nil {
		return w.next.Name
	}
	return w.def.Name
}

// endForGood is a termination that no slot asks for.
func (m *Machine) endForGood(w *worker) {
	w.terminate, w.report.Terminated = true, true
	m.touch(w)
	if w.child != nil {
		m.signal(w.child, sigterm)
		return
	}
	m.reportExit(w)
}

// redescribe gives a worker another registration, from its next start on. Slot,
// generation and with them the handles stay.
func (m *Machine) redescribe(w *worker, def plugins.BackgroundWorker) {
	w.next = &def
	if w.child == nil {
		m.takeNext(w)
	}
}

// takeNext lets the new registration of a worker count that has no process.
func (m *Machine) takeNext(w *worker) {
	if w.next == nil {
		return
	}
	notify := w.def.NotifyPid
	w.def, w.next = *w.next, nil
	w.def.NotifyPid = notify
	m.emit(RestoreSlot{Slot: w.slot, Worker: w.def, Generation: w.gen, Pid: w.slotPid})
}

// beginAnew drains a worker, or has one start that waits.
func (m *Machine) beginAnew(w *worker) ReloadFate {
	switch {
	case w.child == nil:
		w.forgive()
		m.touch(w)
		return FateStart
	case w.keeps():
		return FateKept
	case !w.draining:
		w.draining = true
		m.touch(w)
		m.signal(w.child, sigterm)
	}
	return FateRestart
}

// keeps reports whether a worker must not start a second time: a parallel one is
// a part of what its leader does, and the request that a held one was registered
// for is fulfilled once.
func (w *worker) keeps() bool {
	return w.def.Flags&plugins.ClassParallel != 0 || w.def.Request() != 0 && w.neverRestarts()
}

// forgive forgets what keeps a worker from being started.
func (w *worker) forgive() {
	w.crashedAt, w.notBefore, w.failingSince = time.Time{}, time.Time{}, time.Time{}
	w.lost, w.losses = notLost, 0
}

// drained notes the end of a process that was drained, and reports whether the
// worker goes on: not if it was done, or the host does not start anything any more;
// nor, whatever this says, if it is to end for good.
func (m *Machine) drained(w *worker, out outcome) bool {
	draining := w.draining
	w.draining = false
	if !draining || out == exitDone || m.phase != phaseRun {
		return false
	}
	w.forgive()
	w.goesOn = true
	return true
}

// announcedAs returns the new static worker that a registration is, and takes it
// off the list.
func (m *Machine) announcedAs(def plugins.BackgroundWorker) (announcement, bool) {
	i := slices.IndexFunc(m.announced, func(a announcement) bool { return sameRegistration(asShared(a.Worker), asShared(def)) })
	if i < 0 {
		return announcement{}, false
	}
	found := m.announced[i]
	m.announced = slices.Delete(m.announced, i, i+1)
	return found, true
}

// sameRegistration compares what was registered, whoever is to be notified.
func sameRegistration(a, b plugins.BackgroundWorker) bool {
	a.NotifyPid, b.NotifyPid = 0, 0
	return a == b
}

// asShared returns a registration as shared memory gives it back.
func asShared(def plugins.BackgroundWorker) plugins.BackgroundWorker {
	def.Name, def.Type = shmem.SafeText(def.Name), shmem.SafeText(def.Type)
	def.LibraryName, def.FunctionName = shmem.SafeText(def.LibraryName), shmem.SafeText(def.FunctionName)
	return def
}
