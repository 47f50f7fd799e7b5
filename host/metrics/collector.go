package metrics

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/internal/version"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// The metrics. docs/OPERATING.md has the same table.
var (
	buildInfo   = describe("build_info", "Always 1; the labels say what the host was built from.", "version", "goversion")
	up          = describe("up", "Whether the postmaster has answered within a second. If not, what it counts may be out of date.")
	startTime   = describe("start_time_seconds", "When the host was started, in seconds since 1970.")
	hostState   = describe("state", "1 for what the host is about, 0 for the others.", "state")
	serverState = describe("server_state", "1 for the state of the PostgreSQL server, 0 for the others.", "state")

	slots    = describe("worker_slots", "Slots for registered workers, by what their worker does.", "state")
	maxSlots = describe("worker_slots_max", "How many workers can be registered: max_worker_processes.")
	running  = describe("workers_running", "Workers that run, by library: those of shared_preload_libraries, those compiled in, and \"other\".", "library")

	registrations   = describe("worker_registrations_total", "Workers that were registered.")
	unregistrations = describe("worker_unregistrations_total", "Workers that are not registered any more.")
	starts          = describe("worker_starts_total", "Processes of workers that were started.")
	restarts        = describe("worker_restarts_total", "Of these, the ones of workers that had a process before.")
	exits           = describe("worker_exits_total", "Processes of workers that have ended, by exit code or by the signal that ended them.", "code", "signal")
	crashes         = describe("worker_crashes_total", "Of these, the ones that count as a crash and that the host has not ended itself.")
	crashCycles     = describe("crash_cycles_total", "Crashes after which all processes were ended, and shared memory made anew.")
	startFailures   = describe("process_start_failures_total", "Attempts to start a process that failed.")
	auxStarts       = describe("auxiliary_starts_total", "Auxiliary processes, such as the server monitor, that were started.")
	auxExits        = describe("auxiliary_exits_total", "Auxiliary processes that have ended.")

	launchDuration  = describe("worker_launch_duration_seconds", "From when a worker could be started, which is its registration at the earliest, to its main function.")
	connectDuration = describe("worker_connect_duration_seconds", "How long opening a worker's session took.")
	connectFailures = describe("worker_connect_failures_total", "Workers' sessions that could not be opened.")
	gatewaySessions = describe("gateway_sessions", "SQL sessions that clients have through the gateway.")
	maxSessions     = describe("gateway_sessions_max", "How many there can be: max_connections.")
	sessions        = describe("gateway_sessions_total", "SQL sessions that clients have opened through the gateway.")
	requests        = describe("control_requests_total", "Requests to the control server, by what they ask for.", "op")
)

// descriptions are all metrics, in the order of the table.
var descriptions []*prometheus.Desc

func describe(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("pgexthost_"+name, help, labels, nil)
	descriptions = append(descriptions, d)
	return d
}

// collector makes metrics of what the host says, at each scrape.
type collector struct{ host control.Host }

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		out <- d
	}
}

// askLimit is how long a scrape waits for the postmaster.
const askLimit = time.Second

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	e := emitter{out}
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	e.gauge(up, oneIf(c.host.AskPostmaster(ctx) == nil)) // which has it publish, too
	e.gauge(buildInfo, 1, version.Number, runtime.Version())
	if stats, ok := c.host.HostStatistics(); ok {
		e.statistics(stats)
	}
	e.tallies(c.host.HostTallies())
	c.collectServer(e)
	c.collectWorkers(e)
	c.collectSessions(e)
}

func (c collector) collectServer(e emitter) {
	now := c.host.ServerState()
	for s := shmem.ServerUnreachable; s <= shmem.ServerReadWrite; s++ {
		e.gauge(serverState, oneIf(s == now), s.String())
	}
}

func (c collector) collectWorkers(e emitter) {
	states := map[plugins.WorkerState]int{
		plugins.WorkerNotYetStarted: 0, plugins.WorkerRunning: 0, plugins.WorkerWaiting: 0, plugins.WorkerStopped: 0,
	}
	byLibrary := map[string]int{otherLibrary: 0}
	for _, l := range c.knownLibraries() {
		byLibrary[l] = 0
	}
	workers := c.host.BackgroundWorkers()
	for _, w := range workers {
		states[w.State]++
		if w.State != plugins.WorkerRunning {
			continue
		}
		if _, known := byLibrary[w.Entry.LibraryName]; known {
			byLibrary[w.Entry.LibraryName]++
		} else {
			byLibrary[otherLibrary]++
		}
	}
	for state, n := range states {
		e.gauge(slots, float64(n), string(state))
	}
	e.gauge(slots, float64(c.host.SlotCount()-len(workers)), "free")
	e.gauge(maxSlots, float64(c.host.SlotCount()))
	for library, n := range byLibrary {
		e.gauge(running, float64(n), library)
	}
}

func (c collector) collectSessions(e emitter) {
	e.gauge(gatewaySessions, float64(c.host.ClientSessions()))
	shown, _ := c.host.ShowSetting(settings.MaxConnections)
	most, _ := strconv.Atoi(shown)
	e.gauge(maxSessions, float64(most))
}

// otherLibrary is the label of libraries that have none of their own. Whoever
// launches a worker chooses the name of its library, so not all names can be labels:
// each that ever was would be a time series for ever.
const otherLibrary = "other"

// knownLibraries are the libraries that the owner of the host has chosen.
func (c collector) knownLibraries() []string {
	list, _ := c.host.ShowSetting(settings.SharedPreloadLibs)
	preloaded, err := plugins.SplitLibraries(list, settings.SharedPreloadLibs)
	if err != nil {
		preloaded = nil // as for the host
	}
	all := slices.Concat(preloaded, plugins.Libraries())
	return slices.DeleteFunc(all, func(name string) bool { return name != strings.ToValidUTF8(name, "") })
}

// emitter makes metrics.
type emitter struct{ out chan<- prometheus.Metric }

func (e emitter) gauge(d *prometheus.Desc, value float64, labels ...string) {
	e.out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (e emitter) counter(d *prometheus.Desc, n uint64, labels ...string) {
	e.out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

// statistics emits what the postmaster has counted.
func (e emitter) statistics(s shmem.Statistics) {
	e.gauge(startTime, float64(s.Began)/1e6)
	for p := shmem.HostStarting; p <= shmem.HostStopping; p++ {
		e.gauge(hostState, oneIf(p == s.Phase), p.String())
	}
	for d, n := range map[*prometheus.Desc]uint64{
		registrations: s.Registered, unregistrations: s.Unregistered, starts: s.Starts, restarts: s.Restarts,
		crashes: s.Crashes, crashCycles: s.CrashCycles, startFailures: s.StartFailures, auxStarts: s.AuxiliaryStarts, auxExits: s.AuxiliaryExits,
	} {
		e.counter(d, n)
	}
	e.exits(s)
}

// exits emits the exit codes and the signals that there were, and those codes
// that mean something from the beginning: a rate needs a first value.
func (e emitter) exits(s shmem.Statistics) {
	const done, failed, panicked = 0, 1, 2
	for code, n := range s.ExitCodes {
		if n > 0 || code == done || code == failed || code == panicked {
			e.counter(exits, n, strconv.Itoa(code), "")
		}
	}
	for number, n := range s.ExitSignals {
		if sig := unix.Signal(number); n > 0 || sig == unix.SIGKILL {
			e.counter(exits, n, "", signalName(sig))
		}
	}
}

func signalName(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return strconv.Itoa(int(sig)) // a real-time signal
}

// tallies emits what workers and the control server have counted.
func (e emitter) tallies(t shmem.Tallies) {
	e.histogram(launchDuration, t.Launch)
	e.histogram(connectDuration, t.Connect)
	e.counter(connectFailures, t.ConnectFailures)
	e.counter(sessions, t.Sessions)
	for kind, op := range map[shmem.ControlRequest]string{
		shmem.ControlPs: "ps", shmem.ControlWhy: "why", shmem.ControlLaunch: "launch", shmem.ControlTerminate: "terminate",
		shmem.ControlReload: "reload", shmem.ControlOther: "other",
	} {
		e.counter(requests, t.Requests[kind], op)
	}
}

func (e emitter) histogram(d *prometheus.Desc, h shmem.Histogram) {
	buckets := make(map[float64]uint64, len(shmem.LatencyBounds))
	var count uint64
	for i, n := range h.Buckets {
		count += n
		if i < len(shmem.LatencyBounds) {
			buckets[shmem.LatencyBounds[i].Seconds()] = count
		}
	}
	e.out <- prometheus.MustNewConstHistogram(d, count, h.Sum.Seconds(), buckets)
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
