package plugins

import (
	"io"
	"math"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/internal/standalone"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

func init() {
	standalone.WatchOf = func(worker any) *standalone.Watch {
		if w, ok := worker.(*Worker); ok {
			return w.watch
		}
		return nil
	}
	standalone.Start = startForTest
}

// solo is a library that is loaded into a process without a host, and the one
// worker of it that runs there.
//
// It is a child without a parent: settings, log, Init, main and exit are those of
// any worker, but for shared memory, which there is none of.
type solo struct {
	library    Library
	settings   *ownSettings
	log        *elog.Logger
	collected  registrations // what Init has registered and defined
	deliveries chan delivery
	done       chan struct{} // closed when main has returned and the session is closed

	worker *Worker
	exit   standalone.Exit // valid once done is closed
}

// delivery is a signal on its way to the goroutine that handles them.
type delivery struct {
	sig     unix.Signal
	handled chan struct{}
}

// newSolo reads the settings, as the postmaster does at its start: what is wrong
// with them goes to the log, and a FATAL of it is returned.
func newSolo(l Library, out io.Writer, read func() guc.Config, overrides ...guc.Item) (*solo, error) {
	store, log := guc.NewStore(settings.Definitions()...), elog.NewLogger(out)
	s := &solo{
		library: l, settings: &ownSettings{store: store, read: read, log: log}, log: log,
		collected:  registrations{limit: math.MaxInt},
		deliveries: make(chan delivery), done: make(chan struct{}),
	}
	for _, o := range overrides {
		if err := store.Override(o.Name, o.Value); err != nil {
			return nil, err
		}
	}
	reports := store.ApplyStartup(read())
	settings.ConfigureLog(log, store)
	for _, r := range reports {
		if r.Level >= elog.Fatal {
			return s, r
		}
		log.Emit(r) // what a FATAL sums up comes before it
	}
	return s, nil
}

// load runs the library's Init: once, as in every process, but with its
// registrations kept, since they say how its workers are meant to be.
func (s *solo) load() error {
	if s.library.Init != nil {
		p := &Init{library: s.library.Name, preloading: true, collect: &s.collected, settings: s.settings, log: s.log}
		if err := p.run(s.library.Init); err != nil {
			return err
		}
	}
	s.settings.store.EndStartup()
	settings.ConfigureLog(s.log, s.settings.store)
	return nil
}

// complete returns a registration of the function with what is left out filled
// in: from the library's own registration of that name, or else of that function,
// or else for a worker that connects and never restarts.
func (s *solo) complete(w BackgroundWorker, function string) BackgroundWorker {
	own := BackgroundWorker{Name: function, Flags: ShmemAccess | BackendDatabaseConnection, RestartTime: NeverRestart}
	if registered, ok := s.registered(w.Name, function); ok {
		own = registered
	}
	w.LibraryName, w.FunctionName, w.NotifyPid, w.request = s.library.Name, function, 0, 0
	if w.Type == "" && (w.Name == "" || w.Name == own.Name) {
		w.Type = own.Type
	}
	fill(&w.Name, own.Name)
	fill(&w.Flags, own.Flags)
	fill(&w.StartTime, own.StartTime)
	if w.StartTime == StartAtPostmasterStart && w.Flags&BackendDatabaseConnection != 0 {
		w.StartTime = StartAtRecoveryFinished
	}
	fill(&w.RestartTime, own.RestartTime)
	fill(&w.MainArg, own.MainArg)
	fill(&w.Extra, own.Extra)
	return w
}

// fill gives a field that was left out its value.
func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (s *solo) registered(name, function string) (BackgroundWorker, bool) {
	mine := func(w BackgroundWorker) bool { return w.FunctionName == function && w.LibraryName == s.library.Name }
	i := slices.IndexFunc(s.collected.workers, func(w BackgroundWorker) bool { return mine(w) && w.Name == name })
	if i < 0 {
		i = slices.IndexFunc(s.collected.workers, mine)
	}
	if i < 0 {
		return BackgroundWorker{}, false
	}
	return s.collected.workers[i], true
}

// prepare makes the worker that is to run in a function.
func (s *solo) prepare(w BackgroundWorker, function string) (entryPoint, error) {
	l := &loader{settings: s.settings, log: s.log, loaded: map[string]Library{s.library.Name: s.library}, inits: make(map[string]*Init)}
	entry, err := l.lookupFunction(s.library.Name, function)
	if err != nil {
		hint := "The library has no functions."
		if names := s.library.functionNames(); len(names) > 0 {
			hint = "Its functions: " + strings.Join(names, ", ") + "."
		}
		return entry, elog.AsErrorData(err, elog.Error).WithHint("%s", hint)
	}
	w = s.complete(w, function)
	if err := w.SanityCheckAs(s.settings.personality()); err != nil {
		return entry, err
	}
	s.log.Identify(w.Name, w.Type)
	s.worker = newWorker(shmem.ProcWorker, w, nil, shmem.PrivateProc())
	s.worker.log, s.worker.settings, s.worker.loader = s.log, s.settings, l
	s.worker.holdSignals()
	return entry, nil
}

// run runs main to its end. It is for a goroutine of its own.
func (s *solo) run(entry entryPoint) {
	go s.serveSignals()
	w := s.worker
	s.exit.Err = w.supervise(entry)
	s.exit.Code = w.conclude(s.exit.Err)
	w.closeSession()
	w.cancel(nil) // whatever main has left behind with it
	s.exit.SQLState = w.exitState()
	s.exit.Panic = panicValue(s.exit.Err)
	close(s.done)
	w.exit(s.exit.Code)
}

// exitState is the SQLSTATE of what a worker that has ended has logged last.
func (w *Worker) exitState() elog.SQLState {
	switch code := w.proc.ExitSQLState(); {
	case w.dying.Load():
		return elog.AdminShutdown
	case code != "":
		return elog.SQLState(code)
	}
	return elog.SuccessfulCompletion
}

// serveSignals owns the signals of the worker, and runs their handlers.
func (s *solo) serveSignals() {
	for {
		select {
		case <-s.worker.signals.unblocked:
			s.worker.handlePending()
		case d := <-s.deliveries:
			s.worker.take(d.sig)
			close(d.handled)
		case <-s.done:
			return
		}
	}
}

// take does what a signal does to a worker.
func (w *Worker) take(sig unix.Signal) {
	switch sig {
	case unix.SIGUSR1:
		w.SetLatch()
	case unix.SIGUSR2:
		w.handle(sig)
	case unix.SIGTERM, unix.SIGINT, unix.SIGHUP:
		w.arrived(sig)
	}
}

// Signal is that of standalone.Process.
func (s *solo) Signal(sig unix.Signal) {
	d := delivery{sig, make(chan struct{})}
	select {
	case s.deliveries <- d:
		<-d.handled
	case <-s.done:
	}
}

// SetLatch is that of standalone.Process.
func (s *solo) SetLatch() { s.worker.SetLatch() }

// Done is that of standalone.Process.
func (s *solo) Done() <-chan struct{} { return s.done }

// Exit is that of standalone.Process.
func (s *solo) Exit() standalone.Exit { return s.exit }

// Undefined is that of standalone.Process.
func (s *solo) Undefined(name string) bool {
	setting, ok := s.settings.store.Lookup(name)
	return !ok || setting.Placeholder
}

// startForTest is standalone.Start.
func startForTest(c standalone.Config) (standalone.Process, error) {
	l := c.Library.(Library)
	if problem := l.misnamed(); problem != "" { // Register would panic
		return nil, elog.New(elog.Error, elog.InvalidName, "%s", problem)
	}
	s, err := newSolo(l, c.Log, c.Conf, guc.Item{Name: settings.LogDestination, Value: "jsonlog"})
	if err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	entry, err := s.prepare(c.Registration.(BackgroundWorker), c.Function)
	if err != nil {
		return nil, err
	}
	s.worker.watch = c.Watch
	s.worker.end = func(int) {} // the process is the test's
	go s.run(entry)
	return s, nil
}
