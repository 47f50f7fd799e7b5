//go:build linux

package integration

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/plugins"
)

// get asks for a path on the host's socket, or at an address.
func (h *testHost) get(address, path string) (status int, body string, err error) {
	transport := &http.Transport{DisableKeepAlives: true}
	if address == "" {
		address = "host"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(h.dir, control.SocketName))
		}
	}
	client := http.Client{Transport: transport, Timeout: limit}
	answer, err := client.Get("http://" + address + path)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// scraped are the values of one scrape, by name and labels: `name{a="b"}`.
type scraped map[string]float64

// scrape returns the metrics, once there is a control server to serve them.
func (h *testHost) scrape(address string) scraped {
	h.t.Helper()
	var text string
	h.eventually("metrics", func() bool {
		status, body, err := h.get(address, "/metrics")
		text = body
		return err == nil && status == http.StatusOK
	})
	got, err := parseMetrics(text)
	if err != nil {
		h.t.Fatalf("%v in\n%s", err, text)
	}
	return got
}

func parseMetrics(text string) (scraped, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	got := make(scraped)
	for name, family := range families {
		for _, m := range family.GetMetric() {
			got[strings.TrimPrefix(name, "pgexthost_")+labelsOf(m)] = valueOf(m)
		}
	}
	return got, err
}

func labelsOf(m *dto.Metric) string {
	var labels []string
	for _, l := range m.GetLabel() {
		if l.GetValue() != "" {
			labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
		}
	}
	if len(labels) == 0 {
		return ""
	}
	return "{" + strings.Join(labels, ",") + "}"
}

// valueOf is a metric's value, and a histogram's count.
func valueOf(m *dto.Metric) float64 {
	switch {
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	case m.GetHistogram() != nil:
		return float64(m.GetHistogram().GetSampleCount())
	}
	return m.GetGauge().GetValue()
}

// awaitMetrics waits until a scrape has these values, and returns it.
func (h *testHost) awaitMetrics(want scraped) (got scraped) {
	h.t.Helper()
	var differs []string
	for deadline := time.Now().Add(limit); ; {
		got, differs = h.scrape(""), nil
		for name, value := range want {
			if is, ok := got[name]; !ok || is != value {
				differs = append(differs, fmt.Sprintf("%s is %v, want %v", name, is, value))
			}
		}
		if len(differs) == 0 {
			return got
		}
		if time.Now().After(deadline) {
			slices.Sort(differs)
			h.t.Fatal(strings.Join(differs, "\n"))
		}
	}
}

// By deaths that the test has brought about itself, through a crash cycle.
func TestMetricsCountWhatHasHappened(t *testing.T) {
	t.Parallel()
	h := startHost(t, withServer(sharedServer(t).ConnInfo()), withWorkers(
		plugins.BackgroundWorker{Name: "victim", FunctionName: "wait"},
		plugins.BackgroundWorker{Name: "holder", FunctionName: "hold_lock", RestartTime: plugins.NeverRestart},
		plugins.BackgroundWorker{Name: "once", FunctionName: "return_nil", RestartTime: plugins.NeverRestart},
		plugins.BackgroundWorker{Name: "failing", FunctionName: "return_error", RestartTime: plugins.NeverRestart},
		plugins.BackgroundWorker{
			Name: "session", FunctionName: "connect", Flags: plugins.BackendDatabaseConnection, StartTime: plugins.StartAtRecoveryFinished,
		},
	))
	h.waitLog(`LOG:  session is connected`)
	h.waitLog(`LOG:  holder waits$`)
	want := scraped{
		"up": 1, `state{state="running"}`: 1, `server_state{state="read-write"}`: 1,
		`worker_slots{state="running"}`: 3, `worker_slots{state="free"}`: 5, "worker_slots_max": 8, `workers_running{library="faults"}`: 3,
		"worker_registrations_total": 5, "worker_unregistrations_total": 2, "worker_starts_total": 5, "worker_restarts_total": 0,
		`worker_exits_total{code="0"}`: 1, `worker_exits_total{code="1"}`: 1, `worker_exits_total{code="2"}`: 0, `worker_exits_total{signal="SIGKILL"}`: 0,
		"worker_crashes_total": 0, "crash_cycles_total": 0, "process_start_failures_total": 0, "auxiliary_starts_total": 2, "auxiliary_exits_total": 0,
		"worker_launch_duration_seconds": 5, "worker_connect_duration_seconds": 1, "worker_connect_failures_total": 0,
	}
	began := h.awaitMetrics(want)["start_time_seconds"]
	if now := float64(time.Now().Unix()); math.Abs(now-began) > limit.Seconds() {
		t.Errorf("the host was started at %v, and it is %v", began, now)
	}

	for i := range 3 {
		if err := unix.Kill(h.workerPid("victim"), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		h.waitLogCount(`LOG:  victim waits$`, i+2)
	}
	want["worker_starts_total"], want["worker_restarts_total"], want["worker_launch_duration_seconds"] = 8, 3, 8
	want[`worker_exits_total{signal="SIGKILL"}`], want["worker_crashes_total"] = 3, 3
	h.awaitMetrics(want)

	if err := unix.Kill(h.workerPid("holder"), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.waitLog(reinitializing)
	h.waitLogCount(`LOG:  session is connected`, 2)
	h.waitLogCount(`LOG:  victim waits$`, 5)
	want[`worker_slots{state="running"}`], want[`worker_slots{state="free"}`], want[`workers_running{library="faults"}`] = 2, 6, 2
	want["worker_unregistrations_total"], want["worker_starts_total"], want["worker_restarts_total"] = 3, 10, 5
	want[`worker_exits_total{signal="SIGKILL"}`], want[`worker_exits_total{code="2"}`] = 4, 2 // and two by SIGQUIT
	want["worker_crashes_total"], want["crash_cycles_total"] = 4, 1
	want["auxiliary_starts_total"], want["auxiliary_exits_total"] = 4, 2
	want["worker_launch_duration_seconds"], want["worker_connect_duration_seconds"] = 10, 2
	if after := h.awaitMetrics(want)["start_time_seconds"]; after != began {
		t.Errorf("a crash cycle is no start of the host: %v, %v", began, after)
	}
	h.stop()
}

// Those of a gateway that was killed are gone when the next one is there.
func TestMetricsCountTheGatewaysSessions(t *testing.T) {
	t.Parallel()
	h := startHostWithGateway(t, sharedServer(t).ConnInfo())
	conn := h.through("counted")
	h.through("counted2")
	want := scraped{"gateway_sessions": 2, "gateway_sessions_total": 2, "gateway_sessions_max": 100}
	h.awaitMetrics(want)
	if err := conn.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	want["gateway_sessions"] = 1
	h.awaitMetrics(want)
	if err := unix.Kill(h.gatewayPid(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	want["gateway_sessions"] = 0
	h.awaitMetrics(want)
	h.stop()
}

// However many there are between two scrapes, and whoever asks.
func TestMetricsMissNoWorkerThatComesAndGoes(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("max_worker_processes=50"), withSetting("shared_preload_libraries=faults"))
	before := h.scrape("")
	client, err := control.Dial(t.Context(), h.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const crowd = 40
	functions := []string{"return_nil", "return_error", "panic", "no such function"}
	for i := range crowd {
		launch := control.Launch{Library: "faults", Function: functions[i%len(functions)], RestartTime: plugins.NeverRestart}
		if _, err := client.Do(t.Context(), control.Request{Op: control.OpLaunch, Launch: &launch}); err != nil {
			t.Fatal(err)
		}
	}
	h.waitLogCount(`DEBUG:  unregistering background worker`, crowd)
	after := h.awaitMetrics(scraped{
		"worker_registrations_total": crowd, "worker_unregistrations_total": crowd, "worker_starts_total": crowd,
		`worker_exits_total{code="0"}`: crowd / 4, `worker_exits_total{code="1"}`: crowd - crowd/4, "worker_crashes_total": 0,
		`worker_slots{state="free"}`: 50, "worker_launch_duration_seconds": crowd - crowd/4, // that had a main function
	})
	if n := after[`control_requests_total{op="launch"}`] - before[`control_requests_total{op="launch"}`]; n != crowd {
		t.Errorf("%v launches were asked for, want %d", n, crowd)
	}
	h.stop()
}

// Liveness is the event loop's, not that of the process which answers.
func TestAHostWhosePostmasterHangsIsNotAlive(t *testing.T) {
	t.Parallel()
	h := startHost(t, waiters())
	h.scrape("")
	h.freeze(h.pid())
	status, body, err := h.get("", "/livez")
	if want := "[-]postmaster failed: it has not answered within 3 s\nlivez check failed\n"; err != nil || status != http.StatusServiceUnavailable || body != want {
		t.Errorf("got %d, %q, %v", status, body, err)
	}
	if got := h.scrape(""); got["up"] != 0 || got["worker_registrations_total"] == 0 {
		t.Errorf("it is said to be up, or what it has counted is missing: %v", got)
	}
	h.signal(unix.SIGCONT)
	h.eventually("it to be alive again", func() bool {
		status, body, err := h.get("", "/livez")
		return err == nil && status == http.StatusOK && body == "ok"
	})
	h.stop()
}

func TestAHostThatStopsIsAliveAndNotReady(t *testing.T) {
	t.Parallel()
	h := startHost(t, waiters())
	h.scrape("")
	if status, body, err := h.get("", "/readyz?verbose"); err != nil || status != http.StatusOK || !strings.Contains(body, "[-]server excluded: it is unreachable") {
		t.Errorf("before: %d, %q, %v", status, body, err)
	}
	deaf := h.children()[0]
	h.freeze(deaf)
	h.signal(unix.SIGINT)
	h.waitLog(`LOG:  received fast shutdown request`)
	status, body, err := h.get("", "/readyz")
	if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(body, "[-]host failed: it is stopping\n") {
		t.Errorf("got %d, %q, %v", status, body, err)
	}
	if status, _, err := h.get("", "/livez"); err != nil || status != http.StatusOK {
		t.Errorf("alive: %d, %v", status, err)
	}
	if err := unix.Kill(deaf, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A reload opens an address, waits for one that is taken, and closes it.
func TestMetricsAreServedAtTheAddressOfTheSettings(t *testing.T) {
	t.Parallel()
	h := startHost(t, withFileSettingsOnly())
	h.scrape("") // from now on it hears of a reload
	taken, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	address := taken.Addr().String()
	appendTo(t, h.dir, "metrics_address = '"+address+"'\n")
	h.signal(unix.SIGHUP)
	h.waitLog(fmt.Sprintf(`LOG:  could not bind metrics address "%s": Address already in use$`, address))
	h.waitLog(`HINT:  Is something else listening there\? It is tried again every 5 s; the host goes on\.$`)
	_ = taken.Close()
	h.waitLog(fmt.Sprintf(`LOG:  listening for metrics on address "%s"$`, address))
	if got := h.scrape(address); got["up"] != 1 {
		t.Errorf("got %v", got)
	}
	if status, body, err := h.get(address, "/readyz"); err != nil || status != http.StatusOK || body != "ok" {
		t.Errorf("got %d, %q, %v", status, body, err)
	}
	appendTo(t, h.dir, "metrics_address = ''\n")
	h.signal(unix.SIGHUP)
	h.eventually("nobody to listen there", func() bool {
		_, _, err := h.get(address, "/livez")
		return err != nil
	})
	h.scrape("")
	h.stop()
}

func TestAWrongMetricsAddressIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("metrics_address=9187"))
	h.waitLog(`FATAL:  invalid value for parameter "metrics_address": "9187"$`)
	h.waitLog(`DETAIL:  It must be "HOST:PORT", an IPv6 address in brackets: missing port in address\.$`)
	if code := h.awaitExit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
}

// A worker overwrites all that was counted. What the postmaster knows is right
// again at once; what workers have counted begins anew, and nothing else suffers.
func TestMetricsOfGarbledSharedMemory(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(
		plugins.BackgroundWorker{Name: "scribbler", FunctionName: "scribble", RestartTime: plugins.NeverRestart},
		plugins.BackgroundWorker{Name: "waiter", FunctionName: "wait"}))
	h.waitLog(`LOG:  scribbler has scribbled$`)
	h.waitLog(`LOG:  waiter waits$`)
	got := h.awaitMetrics(scraped{"up": 1, "worker_starts_total": 2, "worker_registrations_total": 2, `state{state="running"}`: 1})
	if n := got["worker_launch_duration_seconds"]; n > 2 {
		t.Errorf("%v workers have come to main", n)
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if status, body, err := h.get("", path); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d, %q, %v", path, status, body, err)
		}
	}
	h.stop()
}

// Random garbage everywhere, again and again: each scrape is valid, and in the
// end the postmaster's counts are what the log says.
func TestScrapesOutliveHostileSharedMemory(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("crash_scope=worker"), withWorkers(plugins.BackgroundWorker{Name: "waiter", FunctionName: "wait"}))
	h.scrape("")
	client, err := control.Dial(t.Context(), h.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	garbler := control.Launch{Library: "faults", Function: "garble", Name: "garbler", RestartTime: 1, Extra: `{"Rounds":200,"Seed":7,"Pids":[1]}`}
	if _, err := client.Do(t.Context(), control.Request{Op: control.OpLaunch, Launch: &garbler}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(limit)
	for done := false; !done; {
		done = h.count(`LOG:  garbler is done$`) > 0
		if time.Now().After(deadline) {
			t.Fatal("the garbler does not come to an end")
		}
		status, body, err := h.get("", "/metrics")
		if err != nil || status != http.StatusOK {
			continue // the control server is being restarted
		}
		if _, err := parseMetrics(body); err != nil {
			t.Fatalf("%v in\n%s", err, body)
		}
	}
	h.eventually("the counts to be what the log says", func() bool {
		status, body, err := h.get("", "/metrics")
		if err != nil || status != http.StatusOK {
			return false
		}
		got, _ := parseMetrics(body)
		ended := h.count(`" \(PID \d+\) (exited|was terminated|could not be started)`) // a type may have a newline
		var exits float64
		for name, n := range got {
			if strings.HasPrefix(name, "worker_exits_total") {
				exits += n
			}
		}
		return got["up"] == 1 && int(exits) == ended && int(got["worker_starts_total"]) >= ended
	})
}
