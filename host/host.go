package host

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
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
	h := &host{ctx: ctx, opts: opts, log: log, events: make(chan any, 64), stopped: make(chan struct{})}
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

	dir      *dataDir
	store    *guc.Store
	preload  []string
	segment  *shmem.Segment
	slots    shmem.PostmasterSlots // of the segment
	alarm    *shmem.Alarm
	children *children
	machine  *postmaster.Machine
	signals  signals
	events   chan any
	stopped  chan struct{} // closed when nobody reads events any more
	exitCode int
	finished bool

	externalPidFile string // as written; empty: none
}

// post delivers an event to the loop, from any goroutine.
func (h *host) post(ev any) {
	select {
	case h.events <- ev:
	case <-h.stopped:
	}
}

// personality is the PostgreSQL whose workers the host reproduces. It does not
// change while the host runs.
func (h *host) personality() plugins.Personality {
	return plugins.ParsePersonality(h.store.Enum(settings.CompatVersion))
}

// setUp does all that must succeed before the first worker is started.
func (h *host) setUp() error {
	if plugins.IsChild() {
		return elog.New(elog.Fatal, elog.ObjectNotInPrerequisite, "a child of a host cannot be a host").
			WithDetail("The program that calls host.Run starts its children from itself.").
			WithHint("Call plugins.RunChild first thing in its main function if plugins.IsChild says so.")
	}
	startThreads()
	h.signals = catchSignals()
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
	if err := h.makeSharedMemory(); err != nil {
		return err
	}
	failpoint.Here(failpoint.SharedMemoryMade)
	static, err := h.preloadLibraries()
	if err != nil {
		return err
	}
	h.store.EndStartup()
	h.warnWithoutMonitor(static)
	h.machine = postmaster.New(postmaster.Config{
		Slots: coreSlots{h}, Static: static,
		Auxiliary:   plugins.Auxiliaries(),
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

// spareRecords is how many process records there are beside those of workers
// and auxiliary processes: one for the preload child, the rest in reserve.
const spareRecords = 4

// makeSharedMemory makes what is shared with the children.
func (h *host) makeSharedMemory() error {
	if err := h.makeSegment(); err != nil {
		return err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return fatal(elog.InsufficientResources, err, "could not create the lifeline: %s", elog.OSReason(err))
	}
	h.children = &children{
		spawner: newSpawner(), segment: h.segment, alarm: h.alarm, dir: h.dir, exe: executable, title: h.title(),
		lifeline: [2]*os.File{os.NewFile(uintptr(pipe[0]), "lifeline"), os.NewFile(uintptr(pipe[1]), "lifeline")},
		env:      childEnvironment(), log: h.log, post: h.post,
		byID: make(map[postmaster.ChildID]*process), records: make([]bool, h.segment.ProcCount()),
	}
	return nil
}

// makeSegment makes the segment and the alarm.
func (h *host) makeSegment() error {
	slots := h.store.Int(settings.MaxWorkerProcesses)
	segment, err := shmem.Create(slots, slots+len(plugins.Auxiliaries())+spareRecords)
	if err != nil {
		return fatal(elog.InsufficientResources, err, "could not create shared memory for %d worker processes: %v", slots, err)
	}
	alarm, err := shmem.NewAlarm()
	if err != nil {
		_ = segment.Close()
		return fatal(elog.InsufficientResources, err, "could not create the postmaster's alarm: %v", err)
	}
	h.segment, h.slots, h.alarm = segment, segment.PostmasterSlots(), alarm
	go h.watchAlarm(alarm)
	return nil
}

// remakeSharedMemory replaces the segment and the alarm after a crash. The old
// ones go: no child has them any more.
func (h *host) remakeSharedMemory() error {
	oldSegment, oldAlarm := h.segment, h.alarm
	if err := h.makeSegment(); err != nil {
		return err
	}
	for _, b := range slices.Backward(oldSegment.Buried()) {
		h.segment.Bury(b)
	}
	failpoint.Here(failpoint.SegmentRemade)
	h.children.segment, h.children.alarm = h.segment, h.alarm
	clear(h.children.records)
	_ = oldAlarm.Close()
	_ = oldSegment.Close()
	return nil
}

// title is what the titles of the host's processes start with. Mirrors
// init_ps_display.
func (h *host) title() string {
	if cluster := h.store.String(settings.ClusterName); cluster != "" {
		return "pgexthost: " + cluster + ": "
	}
	return "pgexthost: "
}

// watchAlarm turns the ringing of children into events.
func (h *host) watchAlarm(alarm *shmem.Alarm) {
	for {
		if err := alarm.Wait(); err != nil {
			if !errors.Is(err, os.ErrClosed) && !errors.Is(err, io.EOF) {
				h.log.Logf(elog.Log, "could not wait for the alarm: %v", err)
			}
			return
		}
		h.post(rung{})
	}
}

// rung says that a child has rung the alarm.
type rung struct{}

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
}

// readSettings reads the configuration file and the command line.
func (h *host) readSettings() error {
	h.store = guc.NewStore(settings.Definitions()...)
	conf, err := h.readFiles()
	if err != nil {
		return err
	}
	var worst *elog.ErrorData
	for _, report := range h.store.ApplyStartup(conf) {
		if report.Level < elog.Fatal {
			h.log.Emit(report)
			continue
		}
		if worst != nil {
			h.log.Emit(worst)
		}
		worst = report // Run logs the last one
	}
	if worst != nil {
		return worst
	}
	h.configureLog()
	names, err := plugins.SplitLibraries(h.store.String(settings.SharedPreloadLibs), settings.SharedPreloadLibs)
	if err != nil {
		h.log.Emit(elog.AsErrorData(err, elog.Log)) // as PostgreSQL: then none is loaded
	}
	h.preload = names
	return nil
}

// readFiles returns what the configuration files and the command line say.
func (h *host) readFiles() (guc.Config, error) {
	conf := settings.ReadFiles(h.dir.configFile())
	for _, option := range h.opts.Settings {
		item, err := guc.ParseOption(option)
		if err != nil {
			return guc.Config{}, err
		}
		conf.Items = append(conf.Items, item)
	}
	return conf, nil
}

func (h *host) configureLog() { settings.ConfigureLog(h.log, h.store) }

// reload reads the configuration file again, as SIGHUP asks for.
func (h *host) reload() {
	for _, report := range h.store.ApplyReload(settings.ReadFiles(h.dir.configFile())) {
		h.log.Emit(report)
	}
	h.configureLog()
	failpoint.Here(failpoint.ReloadRead)
	h.saveSettings()
}

// configured tells the core of the settings that it acts upon.
func (h *host) configured() postmaster.Event {
	return postmaster.Configured{
		WorkerStopTimeout: h.store.Duration(settings.WorkerStopTimeout),
		CrashScope:        postmaster.ParseCrashScope(h.store.Enum(settings.CrashScope)),
		RestartAfterCrash: h.store.Bool(settings.RestartAfterCrash),
	}
}

// coreSlots shows the core the slot array, in the shared memory that there is
// now, in its own terms.
type coreSlots struct{ h *host }

func (s coreSlots) Len() int          { return s.h.slots.Len() }
func (s coreSlots) TotalSlots() int64 { return s.h.slots.TotalSlots() }
func (s coreSlots) InUse(i int) bool  { return s.h.slots.InUse(i) }
func (s coreSlots) Pid(i int) int     { return s.h.slots.ReportedPid(i) }

func (s coreSlots) Generation(i int) uint64 { return s.h.slots.Generation(i) }

func (s coreSlots) Terminate(i int, generation uint64) bool {
	return s.h.slots.Terminate(i, generation)
}

// Descriptor copies a slot's descriptor defensively.
func (s coreSlots) Descriptor(i int) plugins.BackgroundWorker {
	return plugins.FromDescriptor(s.h.slots.Descriptor(i))
}
