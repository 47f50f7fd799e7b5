package host

import (
	"context"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/internal/version"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// Options say how to run a host.
type Options struct {
	// DataDir is a directory that Init has made.
	DataDir string
	// Settings are those of the command line: "name=value" each. They outrank
	// the configuration file.
	Settings []string
}

// Run is the life of a host, in the foreground, until it is told to stop by
// SIGTERM, SIGINT or SIGQUIT, or by the end of ctx, which counts as SIGINT. It
// logs on standard error and returns the exit code of the process: 0 after an
// orderly shutdown, 1 if the host could not start or go on. One process can run
// one host at a time, since signals are the process's.
//
// When Run has returned, the process is expected to exit soon: until then the
// shared memory stays mapped, and signals have no effect, so that a second
// Ctrl-C can't turn an orderly end into another.
//
// Run starts all threads of the Go runtime that it may need, and lets it use at
// most four processors unless the environment variable GOMAXPROCS is set: later,
// the want of a thread would end the process.
//
// The program that calls Run must call plugins.RunChild first thing if
// plugins.IsChild says so: the host starts its children from the same program.
// Before that, it calls servermonitor.Register, or no worker that waits for the
// server will ever start; and plugins.Register for each library.
func Run(ctx context.Context, opts Options) int {
	out := newLogWriter(os.Stderr)
	defer out.close()
	log := elog.NewLogger(out)
	out.onLoss = log.Emit
	log.Identify("", "postmaster")
	h := newHost(ctx, opts, log)
	defer h.tearDown()
	if err := h.setUp(); err != nil {
		report := elog.AsErrorData(err, elog.Fatal)
		log.Emit(report)
		return 1
	}
	return h.loop()
}

// host is a running host: the shell around the pure core. The goroutine that
// called Run owns all of it; others only post events.
type host struct {
	ctx  context.Context
	opts Options
	log  *elog.Logger

	dir       *dataDir
	store     *guc.Store
	preload   []string
	libraries []*loadedLibrary // those of preload
	reloading *libraryReload   // the one that is under way, or nil
	reloadID  uint64           // of the last request for one that was taken up
	reloaded  *control.Reload  // the last answer, or nil
	announced int              // how many new static workers the file of libraries says are not registered yet
	published shmem.Statistics // what the segment shows
	segment   *shmem.Segment
	slots     shmem.PostmasterSlots // of the segment
	alarm     *shmem.Alarm
	children  *children
	machine   *postmaster.Machine
	signals   signals
	service   serviceManager
	events    chan any
	stopped   chan struct{} // closed when nobody reads events any more
	exitCode  int
	finished  bool

	externalPidFile string // as written; empty: none
}

func newHost(ctx context.Context, opts Options, log *elog.Logger) *host {
	return &host{ctx: ctx, opts: opts, log: log, events: make(chan any, 64), stopped: make(chan struct{})}
}

// post delivers an event to the loop, from any goroutine.
func (h *host) post(ev any) {
	select {
	case h.events <- ev:
	case <-h.stopped:
	}
}

// setUp does all that must succeed before the first worker is started.
func (h *host) setUp() error {
	if plugins.IsChild() {
		return elog.New(elog.Fatal, elog.ObjectNotInPrerequisite, "a child of a host cannot be a host").
			WithDetail("The program that calls host.Run starts its children from itself.").
			WithHint("Call plugins.RunChild first thing in its main function if plugins.IsChild says so.")
	}
	if err := Supported(); err != nil {
		return err
	}
	startThreads()
	h.signals = catchSignals()
	h.service = newServiceManager(h.log)
	var err error
	if h.dir, err = openDataDir(h.opts.DataDir); err != nil {
		return err
	}
	h.dir.setUmask()
	if err := h.lockDirectory(); err != nil {
		return err
	}
	if err := h.readSettings(); err != nil {
		return err
	}
	h.log.Logf(elog.Log, "starting pgexthost %s on %s/%s, compiled by %s, with the background workers of PostgreSQL %s",
		version.Number, runtime.GOOS, runtime.GOARCH, runtime.Version(), h.personality())
	h.noteAddresses()
	if err := h.makeSharedMemory(); err != nil {
		return err
	}
	failpoint.Here(failpoint.SharedMemoryMade)
	if err := h.preloadLibraries(); err != nil {
		return err
	}
	static, registrars := h.staticWorkers()
	h.store.EndStartup()
	h.warnWithoutMonitor(static)
	h.machine = postmaster.New(postmaster.Config{
		Slots: coreSlots{h}, Static: static, Registrars: registrars,
		Auxiliary:   plugins.Auxiliaries(),
		Sessions:    func(gateway int) int { return h.segment.Sessions(gateway) },
		Personality: h.personality(),
	})
	return h.leaveTraces()
}

// warnWithoutMonitor tells who has built a host without the server monitor why
// some of its workers will never start.
func (h *host) warnWithoutMonitor(static []plugins.BackgroundWorker) {
	waits := func(w plugins.BackgroundWorker) bool { return w.StartTime != plugins.StartAtPostmasterStart }
	if slices.Contains(plugins.Auxiliaries(), postmaster.ServerMonitor) || !slices.ContainsFunc(static, waits) {
		return
	}
	h.log.Emit(elog.New(elog.Warning, elog.ObjectNotInPrerequisite, "workers that wait for the server will not start").
		WithDetail("This program was built without the server monitor.").
		WithHint("Call servermonitor.Register in its main function."))
}

// title is what the titles of the host's processes start with. Mirrors
// init_ps_display.
func (h *host) title() string {
	if cluster := h.store.String(settings.ClusterName); cluster != "" {
		return "pgexthost: " + cluster + ": "
	}
	return "pgexthost: "
}

// tearDown leaves nothing behind, whatever setUp got to.
func (h *host) tearDown() {
	close(h.stopped)
	if c := h.children; c != nil {
		for _, p := range c.byID { // only if the core could not wait for them
			_ = unix.Kill(-p.pid, unix.SIGKILL)
		}
		c.spawner.close()
		_ = c.lifeline[1].Close()
		_ = c.lifeline[0].Close()
		failpoint.Here(failpoint.LifelineClosed)
	}
	if h.alarm != nil {
		_ = h.alarm.Close()
	}
	h.removeTraces()
	failpoint.Here(failpoint.TracesRemoved)
	if h.dir != nil {
		h.dir.close()
	}
	h.service.close()
}
