package control

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// fakeWorker is a process with a few workers, none of which is real.
type fakeWorker struct {
	mu      sync.Mutex
	workers []plugins.WorkerInfo
	gone    []plugins.UnregisteredWorker
	server  shmem.ServerState
	full    bool
	status  plugins.HandleStatus
	ended   []plugins.Handle
	endings chan struct{} // gets one of each, if there is room
	latch   chan struct{}
	log     []string
	setting string // each
	silent  bool   // the postmaster

	requests []shmem.ControlRequest

	reload   func(name string) (uint64, error)
	answered uint64
}

func (f *fakeWorker) Pid() int { return os.Getpid() }

func (f *fakeWorker) RequestLibraryReload(name string) (uint64, error) { return f.reload(name) }
func (f *fakeWorker) LibraryReloadAnswered(id uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answered == id
}

func (f *fakeWorker) BackgroundWorkers() []plugins.WorkerInfo {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]plugins.WorkerInfo(nil), f.workers...)
}

func (f *fakeWorker) SlotCount() int                           { return 8 }
func (f *fakeWorker) HostStatistics() (shmem.Statistics, bool) { return shmem.Statistics{}, false }
func (f *fakeWorker) ClientSessions() int                      { return 0 }
func (f *fakeWorker) HostTallies() shmem.Tallies               { return shmem.Tallies{} }
func (f *fakeWorker) ShowSetting(string) (string, error)       { return f.setting, nil }
func (f *fakeWorker) Ereport(e *elog.ErrorData)                { f.Logf(e.Level, e.Message) }
func (f *fakeWorker) PostmasterAnswered(number uint64) bool    { return number == 7 && !f.silent }
func (f *fakeWorker) PingPostmaster() uint64                   { return 7 }

func (f *fakeWorker) CountControlRequest(kind shmem.ControlRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, kind)
}

func (f *fakeWorker) UnregisteredWorkers() []plugins.UnregisteredWorker { return f.gone }
func (f *fakeWorker) ServerNews() string                                { return "it is not there" }
func (f *fakeWorker) ServerState() shmem.ServerState                    { return f.server }

func (f *fakeWorker) RegisterDynamicBackgroundWorker(w plugins.BackgroundWorker) (plugins.Handle, error) {
	if f.full {
		return plugins.Handle{}, plugins.ErrNoSlot
	}
	if err := w.SanityCheck(); err != nil {
		return plugins.Handle{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.workers = append(f.workers, plugins.WorkerInfo{Entry: w, State: plugins.WorkerNotYetStarted})
	return plugins.Handle{}, nil
}

func (f *fakeWorker) GetBackgroundWorkerPid(plugins.Handle) (plugins.HandleStatus, int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status, 4711, nil
}

func (f *fakeWorker) TerminateBackgroundWorker(h plugins.Handle) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, h)
	select {
	case f.endings <- struct{}{}:
	default:
	}
	return nil
}

func (f *fakeWorker) WaitLatch(ctx context.Context, _ plugins.WakeEvents, _ time.Duration, _ plugins.WaitEvent) (plugins.WakeEvents, error) {
	select {
	case <-f.latch:
		return plugins.LatchSet, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (f *fakeWorker) ResetLatch()               {}
func (f *fakeWorker) ConfigReloadPending() bool { return false }
func (f *fakeWorker) ProcessConfigFile()        {}

func (f *fakeWorker) Logf(_ elog.Level, format string, _ ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, format)
}

// change changes the fake, and notifies the server of it.
func (f *fakeWorker) change(how func()) {
	f.mu.Lock()
	how()
	f.mu.Unlock()
	f.latch <- struct{}{}
}

// startServer runs a server in a data directory of its own, which looks like
// that of a host: this process.
func startServer(t *testing.T) (*fakeWorker, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgx-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Chdir(dir)
	if _, err := lockfile.Create(dir); err != nil {
		t.Fatal(err)
	}
	f := &fakeWorker{latch: make(chan struct{}), status: plugins.HandleNotYetStarted}
	ctx, cancel := context.WithCancelCause(context.Background())
	over := errors.New("over")
	done := make(chan error)
	go func() { done <- serve(ctx, f) }()
	t.Cleanup(func() {
		cancel(over)
		if err := <-done; !errors.Is(err, over) {
			t.Errorf("the server ended with %v", err)
		}
		if _, err := os.Lstat(filepath.Join(dir, SocketName)); err == nil {
			t.Error("the socket is left")
		}
	})
	return f, dir
}

func dial(t *testing.T, dir string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestTheSocketIsForOneUserOnly(t *testing.T) {
	_, dir := startServer(t)
	dial(t, dir)
	st, err := os.Stat(filepath.Join(dir, SocketName))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestPsOfNobodyIsAnEmptyArray(t *testing.T) {
	_, dir := startServer(t)
	c := dial(t, dir)
	for range 3 { // one conversation
		r, err := c.Do(t.Context(), Request{Op: OpPs})
		if text, _ := json.Marshal(r.Workers); err != nil || string(text) != "[]" {
			t.Errorf("got %s, %v", text, err)
		}
	}
}

func TestRequestsThatCannotBeMet(t *testing.T) {
	f, dir := startServer(t)
	f.full = true
	c := dial(t, dir)
	for _, tt := range []struct {
		request Request
		code    elog.SQLState
		message string
	}{
		{Request{Op: "dance"}, elog.ProtocolViolation, `unknown control request "dance"`},
		{Request{Op: OpWhy, Target: "nobody"}, elog.UndefinedObject, `there is no background worker "nobody"`},
		{Request{Op: OpTerminate, Target: "1"}, elog.UndefinedObject, `there is no background worker "1"`},
		{Request{Op: OpLaunch}, elog.ProtocolViolation, "without a worker"},
		{Request{Op: OpLaunch, Launch: &Launch{Library: "l", Function: "f"}}, elog.ConfigurationLimitExceeded, "out of background worker slots"},
		{Request{Op: OpLaunch, Launch: &Launch{Extra: strings.Repeat("x", 129)}}, elog.InvalidParameterValue, "longer than 128 bytes"},
	} {
		_, err := c.Do(t.Context(), tt.request)
		if elog.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.message) {
			t.Errorf("%+v: got %s %v", tt.request, elog.CodeOf(err), err)
		}
	}
}

func TestLaunchWaitsForTheStart(t *testing.T) {
	for status, want := range map[plugins.HandleStatus]error{plugins.HandleStarted: nil, plugins.HandleStopped: plugins.ErrStopped} {
		f, dir := startServer(t)
		c := dial(t, dir)
		type result struct {
			Response
			err error
		}
		done := make(chan result)
		go func() {
			r, err := c.Do(t.Context(), Request{Op: OpLaunch, Launch: &Launch{Library: "l", Function: "f", RestartTime: -1}, Wait: true})
			done <- result{r, err}
		}()
		f.change(func() {}) // news of something else
		f.change(func() { f.status = status })
		r := <-done
		if want == nil && (r.err != nil || r.Pid != 4711) || want != nil && elog.CodeOf(r.err) != elog.CodeOf(want) {
			t.Errorf("status %d: got %+v", status, r)
		}
		if w := f.BackgroundWorkers()[0].Entry; w.Name != "l f" || w.NotifyPid != os.Getpid() || w.Flags != plugins.ShmemAccess {
			t.Errorf("registered %+v", w)
		}
	}
}

func TestAClientThatLeavesEndsItsWait(t *testing.T) {
	f, dir := startServer(t)
	c := dial(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := c.Do(ctx, Request{Op: OpLaunch, Launch: &Launch{Library: "l", Function: "f", RestartTime: -1}, Wait: true})
		done <- err
	}()
	f.change(func() {})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	c.Close() // and the end of the test waits for the server's goroutines
}

func TestTerminateWaitsUntilTheyAreGone(t *testing.T) {
	f, dir := startServer(t)
	f.workers = []plugins.WorkerInfo{
		{Slot: 0, Entry: plugins.BackgroundWorker{Name: "w"}, Pid: 12, State: plugins.WorkerRunning},
		{Slot: 1, Entry: plugins.BackgroundWorker{Name: "w"}, State: plugins.WorkerWaiting},
	}
	c := dial(t, dir)
	if r, err := c.Do(t.Context(), Request{Op: OpTerminate, Target: "12"}); err != nil || len(r.Terminated) != 1 || len(f.ended) != 1 {
		t.Errorf("by pid: %+v, %v", r, err)
	}
	f.endings = make(chan struct{}, 2)
	done := make(chan Response)
	go func() {
		r, err := c.Do(t.Context(), Request{Op: OpTerminate, Target: "w", Wait: true})
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	<-f.endings
	<-f.endings
	f.change(func() {})
	f.change(func() { f.workers = nil })
	if r := <-done; len(r.Terminated) != 2 || len(f.ended) != 3 {
		t.Errorf("by name: %+v, %v", r, f.ended)
	}
}

func TestGarbageCostsItsOwnConnection(t *testing.T) {
	_, dir := startServer(t)
	dial(t, dir)
	for _, garbage := range []string{"GET / HTTP/1.1\r\n\r\n", "PGX\x01\xff\xff\xff\xff", "PGX\x01\x00\x00\x00\x02[]", "PGX"} {
		conn, err := net.Dial("unix", filepath.Join(dir, SocketName))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
		if garbage == "PGX" {
			_ = conn.Close()
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		var r Response
		if err := handshake.Read(conn, &r); err == nil {
			t.Errorf("%q: got an answer", garbage)
		}
		_ = conn.Close()
	}
	if _, err := dial(t, dir).Do(t.Context(), Request{Op: OpPs}); err != nil {
		t.Error(err)
	}
}

func TestDialSaysThatThereIsNoHost(t *testing.T) {
	dir := t.TempDir()
	_, err := Dial(t.Context(), dir)
	if elog.CodeOf(err) != elog.ConnectionFailure || !strings.Contains(err.Error(), "no server running") {
		t.Errorf("got %v", err)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"Op":"ps"}`))
	f.Add([]byte(`{"Op":"launch","Launch":{"Library":"l","Function":"f","Start":7}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Request
		if json.Unmarshal(text, &r) != nil {
			return
		}
		r.Wait = false
		s := &server{worker: &fakeWorker{}, look: make(chan struct{}, 1), news: make(chan struct{})}
		s.answer(t.Context(), nil, r)
	})
}
