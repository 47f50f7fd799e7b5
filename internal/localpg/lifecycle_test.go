package localpg

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestStopIsIdempotentAndRemovesEverything(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	pids := append(pidsBelow(s.Pid()), s.Pid())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := s.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	<-s.Done()
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d of %v is alive", pid, pids)
		}
	}
	if exists(s.Dir()) {
		t.Errorf("%s is still there", s.Dir())
	}
	if log := s.Log(); !strings.Contains(log, "received fast shutdown request") || !strings.Contains(log, "database system is shut down") {
		t.Errorf("log after Stop: %s", log)
	}
	for what, err := range map[string]error{
		"StopServer": s.StopServer(t.Context()), "Restart": s.Restart(t.Context()), "Crash": s.Crash(),
	} {
		if !errors.Is(err, ErrRemoved) {
			t.Errorf("%s after Stop: %v", what, err)
		}
	}
	if err := s.Kill(syscall.SIGHUP); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Kill after Stop: %v", err)
	}
}

func TestStopWithAnEndedContextIsImmediate(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check(t, s.Stop(ctx))
	if !strings.Contains(s.Log(), "received immediate shutdown request") {
		t.Errorf("log: %s", s.Log())
	}
}

func TestStopGetsRidOfAHungPostmaster(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	children := pidsBelow(s.Pid())
	check(t, s.Kill(syscall.SIGSTOP)) // deaf to everything but SIGKILL
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check(t, s.Stop(ctx))
	for _, pid := range children {
		eventually(t, "every child ends", func() bool { return !alive(pid) })
	}
}

func TestStopServerAndRestart(t *testing.T) {
	t.Parallel()
	s := start(t, Options{TCP: true})
	query(t, s.ConnInfo(), "CREATE TABLE t AS SELECT 7 AS n")
	conninfo, port, pid, done := s.ConnInfo(), s.Port(), s.Pid(), s.Done()

	check(t, s.StopServer(t.Context()))
	<-done
	check(t, s.StopServer(t.Context())) // down already
	if alive(pid) || !exists(s.DataDir()) {
		t.Errorf("alive %v, data directory there %v", alive(pid), exists(s.DataDir()))
	}
	check(t, s.Restart(t.Context()))
	if s.ConnInfo() != conninfo || s.Port() != port || s.Pid() == pid {
		t.Errorf("now %s with pid %d, was %s with pid %d", s.ConnInfo(), s.Pid(), conninfo, pid)
	}
	select {
	case <-s.Done():
		t.Error("Done of a running server is closed")
	default:
	}
	check(t, s.Restart(t.Context())) // while it runs
	if got := query(t, conninfo, "SELECT n FROM t"); got != "7" {
		t.Errorf("table holds %q", got)
	}
	if n := strings.Count(s.Log(), "ready to accept connections"); n != 3 {
		t.Errorf("the log tells of %d starts, want 3", n)
	}
}

func TestRestartThatFailsLeavesTheServerDown(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	query(t, s.ConnInfo(), "ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'")
	err := s.Restart(t.Context())
	serr, ok := errors.AsType[*StartError](err)
	if !ok || !strings.Contains(serr.LogTail, "no_such_library") || strings.Contains(serr.LogTail, "fast shutdown") {
		t.Errorf("got %v", err)
	}
	<-s.Done()
}

func TestCrashKillsBusyBackendsAndLosesNoCommit(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	query(t, s.ConnInfo(), "CREATE TABLE t AS SELECT 7 AS n")
	busy := make(chan error, 1)
	go func() {
		// It never looks up from its work to see that its postmaster is dead.
		_, err := tryQuery(t.Context(), s.ConnInfo(), "SELECT count(*) FROM generate_series(1, 1e12::bigint) g, generate_series(1, 2)")
		busy <- err
	}()
	eventually(t, "the backend is busy", func() bool {
		return query(t, s.ConnInfo(), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT count(*) FROM generate%' AND state = 'active'") == "1"
	})
	pids := append(pidsBelow(s.Pid()), s.Pid())
	check(t, s.Crash())
	if err := <-busy; err == nil {
		t.Error("the query survived the crash")
	}
	for _, pid := range pids {
		eventually(t, "every backend ends", func() bool { return !alive(pid) })
	}
	check(t, s.Crash()) // down already
	check(t, s.Restart(t.Context()))
	if got := query(t, s.ConnInfo(), "SELECT n FROM t"); got != "7" {
		t.Errorf("table holds %q", got)
	}
	if !strings.Contains(s.Log(), "automatic recovery in progress") {
		t.Errorf("no recovery: %s", s.Log())
	}
}

func TestKillPostmaster(t *testing.T) {
	t.Parallel()
	for range 3 {
		s := start(t, Options{})
		check(t, s.Kill(syscall.SIGKILL))
		<-s.Done()
		check(t, s.Restart(t.Context())) // with orphans on their way out
		query(t, s.ConnInfo(), "SELECT 1")
	}
}

func TestCrashedServerLeavesNoSharedMemory(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	pid := s.Pid()
	if len(segmentsOf(t, pid)) == 0 {
		t.Fatal("the server has no segment: the test looks in the wrong place")
	}
	check(t, s.Crash())
	check(t, s.Stop(t.Context()))
	if left := segmentsOf(t, pid); len(left) > 0 {
		t.Errorf("segments left: %v", left)
	}
}
