package metrics

import (
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// value returns a metric's value, and fails if there is none with these labels
// ("name=value").
func value(t *testing.T, families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	t.Helper()
	for _, m := range families[name].GetMetric() {
		var has []string
		for _, l := range m.GetLabel() {
			has = append(has, l.GetName()+"="+l.GetValue())
		}
		if !slices.Equal(has, labels) {
			continue
		}
		switch {
		case m.GetCounter() != nil:
			return m.GetCounter().GetValue()
		case m.GetHistogram() != nil:
			return float64(m.GetHistogram().GetSampleCount())
		}
		return m.GetGauge().GetValue()
	}
	t.Errorf("there is no %s%v", name, labels)
	return math.NaN()
}

func (f *fakeHost) registry() *prometheus.Registry {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(collector{f.asHost()})
	return r
}

func TestNamesAndUnitsAreAsPrometheusWantsThem(t *testing.T) {
	problems, err := testutil.GatherAndLint(newFakeHost().registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if p, _ := promlint.NewWithMetricFamilies([]*dto.MetricFamily{{Name: new("x_total"), Type: dto.MetricType_GAUGE.Enum()}}).Lint(); len(p) == 0 {
		t.Error("the linter finds nothing in anything")
	}
}

// The table of the manual has each metric with its labels, and no other.
func TestTheManualListsEveryMetric(t *testing.T) {
	manual, err := os.ReadFile("../../docs/OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]string)
	var order []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(pgexthost_[a-z_]+)` \\| ([^|]*)\\|").FindAllStringSubmatch(string(manual), -1) {
		listed[row[1]] = strings.NewReplacer("`", "", " ", "").Replace(row[2])
		order = append(order, row[1])
	}
	var want []string
	for _, d := range descriptions {
		parts := regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`).FindStringSubmatch(d.String())
		if parts == nil {
			t.Fatalf("what is %s?", d)
		}
		want = append(want, parts[1])
		if labels, ok := listed[parts[1]]; !ok || labels != parts[2] {
			t.Errorf("%s with the labels {%s}: the manual has {%s}, %v", parts[1], parts[2], labels, ok)
		}
	}
	if !slices.Equal(order, want) {
		t.Errorf("the manual has, in this order, %v\nwant %v", order, want)
	}
}

func TestEveryMetricIsServed(t *testing.T) {
	families := newFakeHost().scrape(t)
	if len(families) != len(descriptions) {
		t.Errorf("%d metrics are served, %d described", len(families), len(descriptions))
	}
}

func TestWhatThePostmasterHasCountedIsServed(t *testing.T) {
	f := newFakeHost()
	f.stats = shmem.Statistics{
		Phase: shmem.HostStopping, Began: 1_700_000_000_500_000, Registered: 1, Unregistered: 2, Starts: 3, Restarts: 4,
		StartFailures: 5, Crashes: 6, CrashCycles: 7, AuxiliaryStarts: 8, AuxiliaryExits: 9,
	}
	f.stats.ExitCodes[1], f.stats.ExitCodes[137], f.stats.ExitSignals[unix.SIGSEGV], f.stats.ExitSignals[40] = 10, 11, 12, 13
	got := f.scrape(t)
	for name, want := range map[string]float64{
		"pgexthost_up": 1, "pgexthost_start_time_seconds": 1_700_000_000.5, "pgexthost_worker_registrations_total": 1, "pgexthost_worker_unregistrations_total": 2,
		"pgexthost_worker_starts_total": 3, "pgexthost_worker_restarts_total": 4, "pgexthost_process_start_failures_total": 5,
		"pgexthost_worker_crashes_total": 6, "pgexthost_crash_cycles_total": 7, "pgexthost_auxiliary_starts_total": 8, "pgexthost_auxiliary_exits_total": 9,
	} {
		if is := value(t, got, name); is != want {
			t.Errorf("%s is %v, want %v", name, is, want)
		}
	}
	const exits = "pgexthost_worker_exits_total"
	for _, tt := range []struct {
		code, signal string
		want         float64
	}{{"0", "", 0}, {"1", "", 10}, {"2", "", 0}, {"137", "", 11}, {"", "SIGKILL", 0}, {"", "SIGSEGV", 12}, {"", "40", 13}} {
		if is := value(t, got, exits, "code="+tt.code, "signal="+tt.signal); is != tt.want {
			t.Errorf("%+v: got %v", tt, is)
		}
	}
	if n := len(got[exits].GetMetric()); n != 7 {
		t.Errorf("%d ways to exit, want those that there were, and what every worker may come to", n)
	}
	if value(t, got, "pgexthost_state", "state=stopping") != 1 || value(t, got, "pgexthost_state", "state=running") != 0 {
		t.Error("the state is wrong")
	}
}

func TestTheGatewaysSessionsAreServed(t *testing.T) {
	f := newFakeHost()
	f.sessions, f.tallies.Sessions, f.settings[settings.MaxConnections] = 3, 44, "100"
	got := f.scrape(t)
	for name, want := range map[string]float64{"pgexthost_gateway_sessions": 3, "pgexthost_gateway_sessions_total": 44, "pgexthost_gateway_sessions_max": 100} {
		if is := value(t, got, name); is != want {
			t.Errorf("%s is %v, want %v", name, is, want)
		}
	}
}

func TestWorkersAreCountedByStateAndByTheLibrariesThatTheOwnerHasChosen(t *testing.T) {
	f := newFakeHost()
	f.settings[settings.SharedPreloadLibs] = `queue, "/opt/x/y"`
	in := func(library string, state plugins.WorkerState) plugins.WorkerInfo {
		return plugins.WorkerInfo{Entry: plugins.BackgroundWorker{LibraryName: library}, State: state}
	}
	f.workers = []plugins.WorkerInfo{
		in("queue", plugins.WorkerRunning), in("/opt/x/y", plugins.WorkerRunning), in("queue", plugins.WorkerWaiting),
		in("a name\xff that\nsomebody made up", plugins.WorkerRunning), in("another", plugins.WorkerRunning), in("", plugins.WorkerStopped),
	}
	f.state = shmem.ServerStandby
	got := f.scrape(t)
	for label, want := range map[string]float64{"library=queue": 1, "library=/opt/x/y": 1, "library=other": 2} {
		if is := value(t, got, "pgexthost_workers_running", label); is != want {
			t.Errorf("%s: %v run, want %v", label, is, want)
		}
	}
	if n := len(got["pgexthost_workers_running"].GetMetric()); n != 3 {
		t.Errorf("%d libraries have a label", n)
	}
	for label, want := range map[string]float64{"state=free": 2, "state=running": 4, "state=waiting": 1, "state=stopped": 1, "state=not_yet_started": 0} {
		if is := value(t, got, "pgexthost_worker_slots", label); is != want {
			t.Errorf("%s: %v slots, want %v", label, is, want)
		}
	}
	if value(t, got, "pgexthost_server_state", "state=standby") != 1 || value(t, got, "pgexthost_server_state", "state=read-write") != 0 {
		t.Error("the server's state is wrong")
	}
}

func TestDurationsAreHistogramsInSeconds(t *testing.T) {
	f := newFakeHost()
	f.tallies.Launch.Buckets[0], f.tallies.Launch.Buckets[2], f.tallies.Launch.Buckets[len(shmem.LatencyBounds)] = 1, 2, 4
	f.tallies.Launch.Sum = 90 * time.Second
	f.tallies.ConnectFailures, f.tallies.Requests[shmem.ControlTerminate] = 5, 6
	got := f.scrape(t)
	h := got["pgexthost_worker_launch_duration_seconds"].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 7 || h.GetSampleSum() != 90 || h.GetBucket()[0].GetUpperBound() != 0.001 || h.GetBucket()[0].GetCumulativeCount() != 1 ||
		h.GetBucket()[2].GetCumulativeCount() != 3 || h.GetBucket()[len(shmem.LatencyBounds)-1].GetCumulativeCount() != 3 {
		t.Errorf("got %v", h)
	}
	if value(t, got, "pgexthost_worker_connect_failures_total") != 5 || value(t, got, "pgexthost_control_requests_total", "op=terminate") != 6 {
		t.Error("failures or requests are wrong")
	}
}

// The extremes of what a segment can hold are served, and what it can't tell is
// left out; each in what is valid for a parser.
func TestGarbageIsBoundedOrLeftOut(t *testing.T) {
	f := newFakeHost()
	f.state = shmem.ServerState(77)
	f.stats.Phase, f.stats.Began, f.stats.Starts = 1<<60, math.MinInt64, math.MaxUint64
	for i := range f.tallies.Launch.Buckets {
		f.tallies.Launch.Buckets[i] = 1<<53 - 1
	}
	f.tallies.Launch.Sum = math.MaxInt64
	f.workers = make([]plugins.WorkerInfo, 9)
	for i := range f.workers {
		f.workers[i].State = plugins.WorkerState("garbage")
	}
	h := f.scrape(t)["pgexthost_worker_launch_duration_seconds"].GetMetric()[0].GetHistogram()
	for i, last := 0, uint64(0); i < len(h.GetBucket()); i++ {
		if n := h.GetBucket()[i].GetCumulativeCount(); n < last {
			t.Errorf("bucket %d has less than the one before", i)
		} else {
			last = n
		}
	}
	f.garbled = true
	got := f.scrape(t)
	if _, served := got["pgexthost_worker_starts_total"]; served {
		t.Error("what could not be read is served")
	}
	if value(t, got, "pgexthost_up") != 1 || value(t, got, "pgexthost_worker_slots_max") != 8 {
		t.Error("the rest is missing")
	}
}

func TestAScrapeTellsThatThePostmasterDoesNotAnswer(t *testing.T) {
	f := newFakeHost()
	f.silent, f.stats.Starts = true, 3
	got := f.scrape(t)
	if value(t, got, "pgexthost_up") != 0 || value(t, got, "pgexthost_worker_starts_total") != 3 {
		t.Error("it is said to be up, or what it has counted is lost")
	}
}
