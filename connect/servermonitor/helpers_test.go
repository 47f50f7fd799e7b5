package servermonitor

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

const patience = 30 * time.Second

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// published is a state as the monitor published it.
type published struct {
	state   shmem.ServerState
	started time.Time
}

// fakeProcess is what the monitor needs of a *plugins.Worker.
type fakeProcess struct {
	latch     chan struct{}
	dead      chan struct{}
	published chan published
	reports   chan *elog.ErrorData

	mu       sync.Mutex
	conninfo string
	next     string // conninfo after the reload
	reload   bool

	news          atomic.Pointer[string]
	interruptible atomic.Int32 // workers that run
	terminated    chan uint32  // databases that workers were to leave
}

func (p *fakeProcess) SetServerNews(text string) { p.news.Store(&text) }

func (p *fakeProcess) HasInterruptibleWorkers() bool { return p.interruptible.Load() > 0 }

func (p *fakeProcess) TerminateBackgroundWorkersForDatabase(oid uint32) int {
	p.terminated <- oid
	return int(p.interruptible.Swap(0))
}

func newProcess(conninfo string) *fakeProcess {
	return &fakeProcess{
		latch: make(chan struct{}, 1), dead: make(chan struct{}),
		published: make(chan published, 1000), reports: make(chan *elog.ErrorData, 1000), conninfo: conninfo, terminated: make(chan uint32, 1000),
	}
}

func (p *fakeProcess) WaitLatch(ctx context.Context, events plugins.WakeEvents, timeout time.Duration, _ plugins.WaitEvent) (plugins.WakeEvents, error) {
	if events != plugins.LatchSet|plugins.Timeout|plugins.PostmasterDeath {
		return 0, errors.New("unexpected events")
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.latch:
		return plugins.LatchSet, nil
	case <-timer.C:
		return plugins.Timeout, nil
	case <-p.dead:
		return plugins.PostmasterDeath, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (p *fakeProcess) SetLatch() {
	select {
	case p.latch <- struct{}{}:
	default:
	}
}

func (p *fakeProcess) ResetLatch() {
	select {
	case <-p.latch:
	default:
	}
}

func (p *fakeProcess) ServerConninfo() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conninfo
}

// hup is SIGHUP after server_conninfo was set to conninfo in the file.
func (p *fakeProcess) hup(conninfo string) {
	p.mu.Lock()
	p.reload, p.next = true, conninfo
	p.mu.Unlock()
	p.SetLatch()
}

func (p *fakeProcess) ConfigReloadPending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	pending := p.reload
	p.reload = false
	return pending
}

func (p *fakeProcess) ProcessConfigFile() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conninfo = p.next
}

func (p *fakeProcess) SetServerState(state shmem.ServerState, started time.Time) {
	p.published <- published{state, started}
}

func (p *fakeProcess) Ereport(e *elog.ErrorData) { p.reports <- e }

// expect waits for the next state and requires it to be this one.
func (p *fakeProcess) expect(t *testing.T, state shmem.ServerState) published {
	t.Helper()
	select {
	case got := <-p.published:
		if got.state != state {
			t.Fatalf("got state %v, want %v", got.state, state)
		}
		return got
	case <-time.After(patience):
		t.Fatalf("no state was published, want %v", state)
	}
	return published{}
}

// await waits for a state and passes over others.
func (p *fakeProcess) await(t *testing.T, state shmem.ServerState) published {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case got := <-p.published:
			if got.state == state {
				return got
			}
		case <-deadline:
			t.Fatalf("state %v was not published", state)
		}
	}
}

// report waits for the next log line.
func (p *fakeProcess) report(t *testing.T) *elog.ErrorData {
	t.Helper()
	select {
	case e := <-p.reports:
		return e
	case <-time.After(patience):
		t.Fatal("nothing was logged")
	}
	return nil
}

// start runs a monitor until the test ends, and returns how to end it before.
func start(t *testing.T, p *fakeProcess, o opener) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m := &monitor{process: p, prober: o, machine: machine{jitter: func() float64 { return 0 }}}
	result := make(chan error, 1)
	go func() { result <- m.run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-result
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}
