package launcher

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// Name is what the host calls the process.
const Name = "request launcher"

// Register makes the process part of this program. Call it in main, before
// plugins.RunChild and host.Run. It relies on the server monitor, see package
// servermonitor.
func Register() { plugins.RegisterAuxiliary(Name, Main) }

var waitEvent = plugins.WaitEvent{Class: shmem.WaitClassActivity, Name: "RequestLauncherMain"}

// Main is the main function of the process, which runs in the data directory. It
// returns when ctx ends, or with plugins.ErrPostmasterDied. SIGHUP makes it read
// the settings again.
func Main(ctx context.Context, w *plugins.Worker) error {
	l := &launcher{worker: w, databases: make(map[string]*running), pasts: make(map[string]*past)}
	ctx, stop := context.WithCancel(ctx)
	defer l.end(stop)
	for {
		if err := l.configure(ctx); err != nil {
			return err
		}
		if _, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.ExitOnPostmasterDeath, 0, waitEvent); err != nil {
			return err
		}
		w.ResetLatch()
		if w.ConfigReloadPending() {
			w.ProcessConfigFile()
		}
		l.wakeAll() // a worker that was launched here has started or ended
	}
}

// launcher is the state of the process: which databases it serves. Each has a
// goroutine of its own, which shares nothing with the others; another one looks
// after the workers of databases that are not served.
type launcher struct {
	worker    *plugins.Worker
	identity  string
	journal   *journal
	conninfo  string
	databases map[string]*running
	pasts     map[string]*past // of all databases that were served; each its goroutine's

	// seen is what the other goroutine has to know. It is replaced, not changed.
	seen    atomic.Pointer[view]
	origins origins
	orphans sync.WaitGroup
	looking bool // that goroutine runs
}

// view is which databases are served, and over what.
type view struct {
	conninfo  string
	databases []*database
}

// running is a database that is being served.
type running struct {
	*database
	stop context.CancelFunc
	done sync.WaitGroup
}

// configure serves the databases that the settings name, and no others.
func (l *launcher) configure(ctx context.Context) error {
	names, history, err := l.settings()
	if err != nil {
		l.worker.Ereport(elog.AsErrorData(err, elog.Log))
		return nil // as before
	}
	if len(names) > 0 && l.identity == "" {
		if l.journal, err = openJournal(".", l.worker.Incarnation()); err != nil {
			return err
		}
		if l.identity, err = hostIdentity("."); err != nil {
			return err
		}
	}
	if conninfo := l.worker.ServerConninfo(); conninfo != l.conninfo {
		l.serve(nil) // the sessions are with another server, or another user's
		l.conninfo = conninfo
	}
	l.serve(names)
	for _, name := range names {
		if r := l.databases[name]; r != nil {
			r.history.Store(int64(history))
			continue
		}
		l.start(ctx, name, history)
	}
	l.lookAfterOrphans(ctx)
	return nil
}

// lookAfterOrphans looks after the workers of databases that are not served, once
// there can be any.
func (l *launcher) lookAfterOrphans(ctx context.Context) {
	now := view{conninfo: l.conninfo}
	for _, r := range l.databases {
		now.databases = append(now.databases, r.database)
	}
	l.seen.Store(&now)
	isRequest := func(w plugins.WorkerInfo) bool { return w.Request != 0 }
	if l.looking || len(now.databases) == 0 && !slices.ContainsFunc(l.worker.BackgroundWorkers(), isRequest) {
		return
	}
	l.looking = true
	o := &orphans{
		worker: l.worker,
		served: func(number uint32) bool {
			return slices.ContainsFunc(l.seen.Load().databases, func(d *database) bool { return d.served.Load()&databaseMask == number })
		},
		ask: func(ctx context.Context, number uint32) (string, error) {
			return askServer(ctx, l.seen.Load().conninfo, number, l.origins.of(number))
		},
	}
	l.orphans.Go(func() { o.run(ctx) })
}

// end ends all goroutines.
func (l *launcher) end(stop context.CancelFunc) {
	stop()
	l.serve(nil)
	l.orphans.Wait()
}

func (l *launcher) settings() (names []string, history int, err error) {
	list, err := l.worker.ShowSetting(settings.LauncherDatabases)
	if err != nil {
		return nil, 0, err
	}
	names, err = plugins.SplitLibraries(list, settings.LauncherDatabases)
	if err != nil {
		return nil, 0, err
	}
	shown, err := l.worker.ShowSetting(settings.LauncherHistory)
	if err != nil {
		return nil, 0, err
	}
	history, err = minutes(shown)
	return names, history, err
}

// serve stops serving all databases but these, and waits until that is so.
func (l *launcher) serve(names []string) {
	var stopped []*running
	for name, r := range l.databases {
		if !slices.Contains(names, name) {
			r.stop()
			stopped = append(stopped, r)
			delete(l.databases, name)
		}
	}
	for _, r := range stopped {
		r.done.Wait()
	}
}

func (l *launcher) start(ctx context.Context, name string, history int) {
	ctx, stop := context.WithCancel(ctx)
	if l.pasts[name] == nil {
		l.pasts[name] = new(past)
	}
	r := &running{database: newDatabase(l.worker, name, l.conninfo, l.identity, l.journal, l.pasts[name]), stop: stop}
	r.origins = &l.origins
	r.history.Store(int64(history))
	r.done.Go(func() { r.run(ctx) })
	l.databases[name] = r
}

func (l *launcher) wakeAll() {
	for _, r := range l.databases {
		r.wake()
	}
}

// minutes reads a time as settings of minutes are shown: "90min", "36h", "7d" or 0.
func minutes(shown string) (int, error) {
	number := strings.TrimRight(shown, "dhmin")
	n, err := strconv.Atoi(number)
	switch shown[len(number):] {
	case "d":
		n *= 24 * 60
	case "h":
		n *= 60
	}
	return n, err
}
