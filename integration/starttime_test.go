//go:build linux

package integration

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// one worker for each start time.
func startTimes() hostOption {
	return withWorkers(
		plugins.BackgroundWorker{Name: "at postmaster start", FunctionName: "wait", StartTime: plugins.StartAtPostmasterStart},
		plugins.BackgroundWorker{Name: "at consistent state", FunctionName: "wait", StartTime: plugins.StartAtConsistentState},
		plugins.BackgroundWorker{Name: "at recovery finished", FunctionName: "wait", StartTime: plugins.StartAtRecoveryFinished},
	)
}

// SPEC §5, against a server that is down and then comes up.
func TestStartTimesFollowTheServer(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	if err := server.StopServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := startHost(t, startTimes(), withServer(server.ConnInfo()))
	h.waitLog(`LOG:  at postmaster start waits$`)
	h.waitLog(`LOG:  waiting for the server: `)
	if n := h.count(`LOG:  at (consistent state|recovery finished) waits$`); n != 0 {
		t.Fatalf("%d workers were started without a server", n)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.waitLog(`LOG:  at consistent state waits$`)
	h.waitLog(`LOG:  at recovery finished waits$`)
	if n := h.count(`LOG:  waiting for the server: `); n != 1 {
		t.Errorf("the host said %d times that it waits", n)
	}
	// Workers are never stopped because of a state change.
	if err := server.Crash(); err != nil {
		t.Fatal(err)
	}
	h.waitLog(`LOG:  lost connection to the server`)
	if pids := h.children(); len(pids) != 4 {
		t.Errorf("the host has children %v, want three workers and the monitor", pids)
	}
	h.stop()
}

// A program can be built without the monitor.
func TestAHostWithoutTheMonitorWarnsOfWorkersThatWillNotStart(t *testing.T) {
	const warning = `WARNING:  workers that wait for the server will not start$`
	t.Run("which wait", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, startTimes())
		h.waitLog(warning)
		h.waitLog(`LOG:  at postmaster start waits$`)
		h.stop()
		if n := h.count(`starting background worker process`); n != 1 {
			t.Errorf("%d workers were started", n)
		}
	})
	t.Run("which do not wait", func(t *testing.T) {
		t.Parallel()
		h := startHost(t, waiters())
		h.waitLogCount(`LOG:  w\d waits$`, 3)
		h.stop()
		if n := h.count(`WARNING`); n != 0 {
			t.Errorf("%d warnings", n)
		}
	})
}

func TestTheMonitorIsStartedAgain(t *testing.T) {
	t.Parallel()
	h := startHost(t, withServer(sharedServer(t).ConnInfo()))
	h.waitLog(`LOG:  server is accepting read-write connections$`)
	pid := h.children()[0]
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.waitLog(`LOG:  server monitor process \(PID \d+\) was terminated by signal 9: Killed$`)
	h.waitLogCount(`LOG:  server is accepting read-write connections$`, 2)
	h.stop()
}

func TestTheMonitorEndsQuietly(t *testing.T) {
	t.Parallel()
	h := startHost(t, withServer(sharedServer(t).ConnInfo()))
	h.waitLog(`LOG:  server is accepting read-write connections$`)
	h.stop()
	if n := h.count(`LOG:  server monitor process`); n != 0 {
		t.Error("its end was logged")
	}
}

// SPEC §5: 57P01 while the server lives is a SIGTERM to that worker. The host
// can tell only after a new look at the server.
func TestATerminatedBackendIsATerminatedWorker(t *testing.T) {
	t.Parallel()
	conninfo := newDatabase(t, "terminated")
	again, once := dbWorker("sleep_query", ""), dbWorker("sleep_query", "")
	again.Name, again.RestartTime = "again", 0
	once.Name, once.RestartTime = "once", plugins.NeverRestart
	h := startHost(t, withWorkers(again, once), withServer(conninfo))
	terminate := func(name string) {
		t.Helper()
		h.eventually("the backend to be terminated", func() bool {
			return query[int](t, conninfo, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = 'terminated' AND application_name = '`+name+`' AND query LIKE 'SELECT pg_sleep%'`) > 0
		})
	}
	for i := range 3 {
		h.waitLogCount(`LOG:  again sleeps in the server$`, i+1)
		terminate("again")
	}
	h.waitLogCount(`LOG:  again sleeps in the server$`, 4)
	terminate("once")
	h.waitLog(`DEBUG:  unregistering background worker "once"$`)
	h.stop()
}
