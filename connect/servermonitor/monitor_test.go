package servermonitor

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// The loop runs on synctest's clock here: what takes a second takes exactly one.

// fakeOpener hands out sessions, or errors, as the test feeds them.
type fakeOpener struct {
	opened  chan string // conninfo of each Open
	results chan any    // *fakeSession or error
}

func newOpener() *fakeOpener {
	return &fakeOpener{opened: make(chan string, 1000), results: make(chan any, 1000)}
}

func (o *fakeOpener) Open(ctx context.Context, conninfo string) (session, error) {
	o.opened <- conninfo
	select {
	case r := <-o.results:
		if s, ok := r.(*fakeSession); ok {
			return s, nil
		}
		return nil, r.(error)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type fakeSession struct {
	facts  atomic.Pointer[facts]
	looked chan struct{}
	lost   chan error
	closed chan struct{}
	claims chan any // []uint32 or error, one for each question
	asked  chan struct{}
}

func newSession(f facts) *fakeSession {
	s := &fakeSession{looked: make(chan struct{}, 1000), lost: make(chan error, 1), closed: make(chan struct{}), claims: make(chan any, 1000), asked: make(chan struct{}, 1000)}
	s.facts.Store(&f)
	return s
}

func (s *fakeSession) Look(context.Context) (facts, error) {
	s.looked <- struct{}{}
	return *s.facts.Load(), nil
}

func (s *fakeSession) ClaimedDatabases(context.Context) ([]uint32, error) {
	s.asked <- struct{}{}
	select {
	case c := <-s.claims:
		if oids, ok := c.([]uint32); ok {
			return oids, nil
		}
		return nil, c.(error)
	default:
		return nil, nil
	}
}

func (s *fakeSession) AwaitLoss(ctx context.Context) error {
	select {
	case err := <-s.lost:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (s *fakeSession) Close() { close(s.closed) }

func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("not in time: %s", what)
	}
	panic("unreachable")
}

func TestLossOfTheSessionIsNoticedAtOnceAndTheNextOpened(t *testing.T) {
	synctest.Test(t, testLossOfTheSessionIsNoticedAtOnceAndTheNextOpened)
}

func testLossOfTheSessionIsNoticedAtOnceAndTheNextOpened(t *testing.T) {
	p, o := newProcess("c"), newOpener()
	first, second := newSession(primary), newSession(primary)
	o.results <- first
	start(t, p, o)
	p.expect(t, shmem.ServerReadWrite)
	first.lost <- errLost // within the pause of 10 s
	begin := time.Now()
	o.results <- second
	p.expect(t, shmem.ServerUnreachable)
	if news := *p.news.Load(); news != errLost.Message {
		t.Errorf("the news are %q", news)
	}
	p.expect(t, shmem.ServerReadWrite)
	if news := *p.news.Load(); news != "" {
		t.Errorf("the news are still %q", news)
	}
	if took := time.Since(begin); took > firstPause {
		t.Errorf("took %v", took)
	}
	await(t, "the lost session is closed", first.closed)
}

func TestLatchMakesItLookAndPublishNow(t *testing.T) {
	synctest.Test(t, testLatchMakesItLookAndPublishNow)
}

func testLatchMakesItLookAndPublishNow(t *testing.T) {
	p, o := newProcess("c"), newOpener()
	first, s := newSession(primary), newSession(primary)
	o.results <- first
	start(t, p, o)
	await(t, "first look", first.looked)
	p.expect(t, shmem.ServerReadWrite)
	o.results <- s
	p.SetLatch()
	await(t, "second look", s.looked)
	await(t, "the session of before is closed", first.closed)
	// Whoever has set the latch waits for an answer, even if nothing is new.
	p.expect(t, shmem.ServerReadWrite)
	await(t, "third look, when the pause is over", s.looked)
	if synctest.Wait(); len(p.published) != 0 {
		t.Error("no news were published without being asked for")
	}
}

var errStopping = elog.New(elog.Fatal, elog.CannotConnectNow, "the database system is shutting down")

// Whose session is ended by a shutdown first is chance. A worker that comes
// before the monitor must not be told that the server is as it was.
func TestAServerThatShutsDownIsNotOneThatAnswers(t *testing.T) {
	synctest.Test(t, testAServerThatShutsDownIsNotOneThatAnswers)
}

func testAServerThatShutsDownIsNotOneThatAnswers(t *testing.T) {
	p, o := newProcess("c"), newOpener()
	s := newSession(primary) // answers all the time
	o.results <- s
	start(t, p, o)
	p.expect(t, shmem.ServerReadWrite)
	o.results <- errStopping
	p.SetLatch()
	p.expect(t, shmem.ServerStarting)
	await(t, "the session is closed", s.closed)
}

func TestAServerThatTakesNoMoreSessionsIsStillThere(t *testing.T) {
	for _, err := range []error{errFull, errPassword} {
		synctest.Test(t, func(t *testing.T) { testAServerThatTakesNoMoreSessionsIsStillThere(t, err) })
	}
}

func testAServerThatTakesNoMoreSessionsIsStillThere(t *testing.T, refusal error) {
	p, o := newProcess("c"), newOpener()
	s := newSession(primary)
	o.results <- s
	start(t, p, o)
	await(t, "first look", s.looked)
	p.expect(t, shmem.ServerReadWrite)
	o.results <- refusal
	p.SetLatch()
	await(t, "second look", s.looked)
	p.expect(t, shmem.ServerReadWrite)
	if synctest.Wait(); len(p.reports) != 1 {
		t.Errorf("%d lines in the log", len(p.reports))
	}
}

func TestPromotionIsNoticed(t *testing.T) { synctest.Test(t, testPromotionIsNoticed) }

func testPromotionIsNoticed(t *testing.T) {
	p, o := newProcess("c"), newOpener()
	s := newSession(standby)
	o.results <- s
	start(t, p, o)
	p.expect(t, shmem.ServerStandby)
	begin := time.Now()
	s.facts.Store(&primary)
	p.expect(t, shmem.ServerReadWrite)
	if took := time.Since(begin); took > standbyPause {
		t.Errorf("took %v", took)
	}
}

func TestReloadConnectsWithTheConninfoOfTheFile(t *testing.T) {
	synctest.Test(t, testReloadConnectsWithTheConninfoOfTheFile)
}

func testReloadConnectsWithTheConninfoOfTheFile(t *testing.T) {
	p, o := newProcess("old"), newOpener()
	first, second, third := newSession(primary), newSession(primary), newSession(standby)
	o.results <- first
	o.results <- second
	o.results <- third
	start(t, p, o)
	p.expect(t, shmem.ServerReadWrite)
	p.hup("old")
	p.expect(t, shmem.ServerReadWrite)
	await(t, "the first session is closed", first.closed)
	p.hup("new")
	p.expect(t, shmem.ServerStandby)
	await(t, "the second session is closed", second.closed)
	for _, want := range []string{"old", "old", "new"} {
		if got := <-o.opened; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if len(o.opened) != 0 {
		t.Error("there were more sessions")
	}
}

func TestEndOfContextAndPostmasterDeathEndIt(t *testing.T) {
	synctest.Test(t, testEndOfContextAndPostmasterDeathEndIt)
}

func testEndOfContextAndPostmasterDeathEndIt(t *testing.T) {
	p, o := newProcess("c"), newOpener()
	s := newSession(primary)
	o.results <- s
	stop := start(t, p, o)
	p.expect(t, shmem.ServerReadWrite)
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	await(t, "the session is closed", s.closed)

	p, o = newProcess("c"), newOpener()
	o.results <- newSession(primary)
	m := &monitor{process: p, prober: o, machine: *newMachine()}
	close(p.dead)
	if err := m.run(context.Background()); !errors.Is(err, plugins.ErrPostmasterDied) {
		t.Errorf("got %v", err)
	}
}

func TestEndOfContextInterruptsAnAttempt(t *testing.T) {
	synctest.Test(t, testEndOfContextInterruptsAnAttempt)
}

func testEndOfContextInterruptsAnAttempt(t *testing.T) {
	p, o := newProcess("c"), newOpener()
	stop := start(t, p, o)
	await(t, "the attempt", o.opened)
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(p.published) != 0 || len(p.reports) != 0 {
		t.Error("the interrupted attempt was published")
	}
}

// awayFor is a server that is away, and then there.
type awayFor struct {
	until time.Time
	opens int
}

func (a *awayFor) Open(context.Context, string) (session, error) {
	a.opens++
	if time.Now().Before(a.until) {
		return nil, errGone
	}
	return newSession(primary), nil
}

func TestAnHourWithoutAServerIsQuiet(t *testing.T) {
	synctest.Test(t, testAnHourWithoutAServerIsQuiet)
}

func testAnHourWithoutAServerIsQuiet(t *testing.T) {
	p, server := newProcess("c"), &awayFor{until: time.Now().Add(time.Hour)}
	stop := start(t, p, server)
	p.expect(t, shmem.ServerUnreachable)
	time.Sleep(time.Until(server.until))
	if len(p.published) != 0 {
		t.Error("it was published again")
	}
	p.expect(t, shmem.ServerReadWrite)
	if late := time.Since(server.until); late > longestPause {
		t.Errorf("the server was found after %v", late)
	}
	_ = stop()
	if server.opens > 730 {
		t.Errorf("%d attempts", server.opens)
	}
	if len(p.reports) != 2 {
		t.Errorf("%d lines in the log", len(p.reports))
	}
}
