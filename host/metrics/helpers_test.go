package metrics

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// limit bounds every wait of these tests.
const limit = 90 * time.Second

// fakeHost is a host that says what it is told to.
type fakeHost struct {
	mu       sync.Mutex
	workers  []plugins.WorkerInfo
	state    shmem.ServerState
	stats    shmem.Statistics
	garbled  bool
	tallies  shmem.Tallies
	sessions int
	settings map[string]string
	silent   bool // the postmaster
	looks    int  // at settings
	reports  []string
	news     chan struct{}
}

func newFakeHost() *fakeHost {
	return &fakeHost{settings: make(map[string]string), news: make(chan struct{}), stats: shmem.Statistics{Phase: shmem.HostRunning}, state: shmem.ServerReadWrite}
}

func (f *fakeHost) BackgroundWorkers() []plugins.WorkerInfo  { return f.workers }
func (f *fakeHost) SlotCount() int                           { return 8 }
func (f *fakeHost) ServerState() shmem.ServerState           { return f.state }
func (f *fakeHost) ServerNews() string                       { return "no route\nto secret.example.com" }
func (f *fakeHost) HostStatistics() (shmem.Statistics, bool) { return f.stats, !f.garbled }
func (f *fakeHost) ClientSessions() int                      { return f.sessions }
func (f *fakeHost) HostTallies() shmem.Tallies               { return f.tallies }
func (f *fakeHost) Logf(_ elog.Level, format string, a ...any) {
	f.report(fmt.Sprintf(format, a...))
}
func (f *fakeHost) Ereport(e *elog.ErrorData) { f.report(e.Message + " HINT: " + e.Hint) }

func (f *fakeHost) ShowSetting(name string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	return f.settings[name], nil
}

func (f *fakeHost) report(line string) { f.change(func() { f.reports = append(f.reports, line) }) }

// change changes the fake, and tells of it.
func (f *fakeHost) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
	close(f.news)
	f.news = make(chan struct{})
}

func (f *fakeHost) nextNews() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.news
}

func (f *fakeHost) ask(ctx context.Context) error {
	if f.silent {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (f *fakeHost) asHost() control.Host {
	return control.Host{Observed: f, AskPostmaster: f.ask, News: f.nextNews}
}

// awaitReport waits for a line of the log that begins like this.
func (f *fakeHost) awaitReport(t *testing.T, n int, prefix string) string {
	t.Helper()
	deadline := time.After(limit)
	for {
		news := f.nextNews()
		found := f.reported(prefix)
		if len(found) >= n {
			return found[n-1]
		}
		select {
		case <-news:
		case <-deadline:
			t.Fatalf("%d of %d reports %q in %q", len(found), n, prefix, f.reported(""))
		}
	}
}

// awaitLooks waits until the settings have been looked at so many times more.
func (f *fakeHost) awaitLooks(t *testing.T, n int) {
	t.Helper()
	looks := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.looks
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for enough, deadline := looks()+n, time.Now().Add(limit); looks() < enough; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("nobody looks at the settings")
		}
	}
}

func (f *fakeHost) reported(prefix string) (found []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.reports {
		if strings.HasPrefix(r, prefix) {
			found = append(found, r)
		}
	}
	return found
}

// listenAt sets metrics_address.
func (f *fakeHost) listenAt(address string) {
	f.change(func() { f.settings[settings.MetricsAddress] = address })
}

// get asks the handler for a path.
func (f *fakeHost) get(a audience, path string) (status int, body string) {
	out := httptest.NewRecorder()
	newWeb(f.asHost()).handler(a).ServeHTTP(out, httptest.NewRequest(http.MethodGet, path, nil))
	return out.Code, out.Body.String()
}

// scrape returns the metrics, by name.
func (f *fakeHost) scrape(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	status, body := f.get(everybody, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("%v in\n%s", err, body)
	}
	return families
}

// run runs a web until the end of the test.
func run(t *testing.T, w *web) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// talk sends a request over a connection and reads the answer's first line.
func talk(conn net.Conn, request string) (string, error) {
	_ = conn.SetDeadline(time.Now().Add(limit))
	if _, err := conn.Write([]byte(request)); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}
