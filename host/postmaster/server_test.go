package postmaster_test

import (
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

const (
	poke    = "Poke{Aux:server monitor}"
	start   = `DEBUG1: starting background worker process "w"`
	spawned = "spawn w, slot 0"
	free    = "release slot 0"
	forgot  = `DEBUG1: unregistering background worker "w"`
)

// connected returns a rig whose server A is read-write and whose only worker,
// static or dynamic, runs with pid 102.
func connected(t *testing.T, static bool, change ...func(*plugins.BackgroundWorker)) *rig {
	t.Helper()
	w := named("w", append(change, database)...)
	if !static {
		r := newRig(t)
		r.server(shmem.ServerReadWrite, serverA)
		w.NotifyPid = 101
		r.register(w)
		r.started("w")
		r.trace = nil
		return r
	}
	r := newRig(t, w)
	r.server(shmem.ServerReadWrite, serverA)
	r.started("w")
	r.trace = nil
	return r
}

// SPEC 5 and 11: which exits are events of the server. Those keep the
// registration of even a never-restart worker, and ask the monitor.
func TestSpec5ExitsThatLoseTheServer(t *testing.T) {
	withStatus := func(ev postmaster.Exited, change func(*postmaster.Exited)) postmaster.Exited {
		change(&ev)
		return ev
	}
	for name, tt := range map[string]struct {
		ev   postmaster.Exited
		lost bool
	}{
		"connection_exception":  {sqlState("08000"), true},
		"connection_failure":    {sqlState("08006"), true},
		"crash_shutdown":        {sqlState("57P02"), true},
		"cannot_connect_now":    {sqlState("57P03"), true},
		"too_many_connections":  {sqlState("53300"), true},
		"admin_shutdown":        {sqlState("57P01"), true}, // perhaps: see below
		"query_canceled":        {sqlState("57014"), false},
		"out_of_memory":         {sqlState("53200"), false},
		"no code":               {sqlState(""), false},
		"exit 2":                {withStatus(sqlState("08006"), func(ev *postmaster.Exited) { ev.Status.Code = 2 }), false},
		"a signal":              {withStatus(sqlState("08006"), func(ev *postmaster.Exited) { ev.Status.Signaled = true }), false},
		"a failed handshake":    {withStatus(sqlState("08006"), func(ev *postmaster.Exited) { ev.Failure = errNoExec }), false},
		"exit 0, whatever code": {withStatus(sqlState("08006"), func(ev *postmaster.Exited) { ev.Status.Code = 0 }), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := connected(t, false, restart(never))
			r.exit("w", tt.ev)
			if !tt.lost {
				if r.slots.slot[0].inUse {
					t.Errorf("the registration was kept:\n%q", r.trace)
				}
				return
			}
			r.want("slot 0: pid 0", "notify 101", `LOG: background worker "w type" (PID 102) exited with exit code 1`, poke)
			r.pass(time.Hour)
			r.want() // it waits for news, however old the last news is
			r.wantWake(longestSleep)
		})
	}
}

// SPEC 5: a worker without a database connection has no server to lose, and a
// terminated one nothing to wait for.
func TestSpec5WorkersThatCannotLoseTheServer(t *testing.T) {
	r := newRig(t, named("w", restart(never)))
	r.started("w")
	r.trace = nil
	r.exit("w", sqlState("08006"))
	r.want("slot 0: pid 0", free, forgot, `LOG: background worker "w type" (PID 102) exited with exit code 1`)

	r = connected(t, false)
	r.terminate(0)
	r.trace = nil
	r.exit("w", sqlState("08006"))
	r.want("slot 0: pid 0", free, forgot, "notify 101", `LOG: background worker "w type" (PID 102) exited with exit code 1`)

	r = connected(t, false)
	r.exit("w", sqlState("08006"))
	r.trace = nil
	r.terminate(0)
	r.want("slot 0: pid 0", free, forgot, "notify 101")
}

// What becomes of a worker that lost the server.
const (
	starts    = "starts" // 1 s after the exit, whatever its restart time
	forgotten = "forgotten"
	waits     = "waits" // for its restart time, since the exit
)

var verdicts = []struct {
	state   string
	static  bool
	restart int
	another bool // server
	away    bool // news that it could not be reached came first
	want    string
}{
	{"08006", true, never, true, true, starts},
	{"08006", false, never, true, true, forgotten},
	{"08006", true, 30, true, true, starts},
	{"08006", false, 30, true, true, starts},
	{"08006", true, never, false, true, forgotten},
	{"08006", false, never, false, true, forgotten},
	{"08006", true, 30, false, true, starts},
	{"08006", false, 30, false, true, starts},
	// the server was there all the time
	{"08006", true, never, false, false, forgotten},
	{"08006", false, 30, false, false, starts},
	{"57P03", true, never, true, false, starts},
	{"57P02", false, never, false, false, forgotten},
	// 57P01: with the server gone, a loss; else a SIGTERM to that worker
	{"57P01", true, never, true, true, starts},
	{"57P01", true, never, true, false, starts},
	{"57P01", false, 30, false, true, starts},
	{"57P01", true, never, false, false, forgotten},
	{"57P01", false, never, false, false, forgotten},
	{"57P01", true, 30, false, false, waits},
	{"57P01", false, 30, false, false, waits},
	// 53300: there was no session to be lost
	{"53300", true, never, false, false, starts},
	{"53300", false, never, false, false, forgotten},
	{"53300", false, 30, false, false, starts},
}

// SPEC 5: what becomes of a worker that lost the server, by the next news of
// a server that can be reached.
func TestSpec5TheServerIsBack(t *testing.T) {
	for _, tt := range verdicts {
		t.Run(tt.state+" "+tt.want, func(t *testing.T) {
			r := connected(t, tt.static, restart(tt.restart))
			r.exit("w", sqlState(tt.state))
			if tt.away {
				r.server(shmem.ServerUnreachable, serverA)
				r.server(shmem.ServerStarting, time.Time{})
			}
			r.trace = nil
			started := serverA
			if tt.another {
				started = serverB
			}
			r.server(shmem.ServerStandby, started)
			switch tt.want {
			case forgotten:
				want := []string{free, forgot, "notify 101"}
				if tt.static {
					want = want[:2]
				}
				r.want(want...)
				r.wantWake(longestSleep)
			case starts: // at once
				r.want(start, spawned)
			case waits:
				r.want()
				r.wantWake(30 * time.Second)
			}
		})
	}
}

// SPEC 5: the server that a worker lost is the one it was started with, not
// the one of the last news: an idle worker notices late.
func TestSpec5AnIdleWorkerNoticesARestartLate(t *testing.T) {
	r := connected(t, true, restart(never))
	r.server(shmem.ServerUnreachable, serverA)
	r.server(shmem.ServerReadWrite, serverB)
	r.exit("w", sqlState("57P01"))
	r.trace = nil
	r.server(shmem.ServerReadWrite, serverB)
	r.want(start, spawned)
}

// SPEC 5: 57P01 while the server is known to be away is a loss.
func TestSpec5AdminShutdownWhileTheServerIsAway(t *testing.T) {
	r := connected(t, false)
	r.server(shmem.ServerStarting, serverA)
	r.exit("w", sqlState("57P01"))
	r.trace = nil
	r.server(shmem.ServerReadWrite, serverA)
	r.want(start, spawned)
}

// SPEC 5: after the verdict the start test applies as ever.
func TestSpec5TheServerIsBackAsAStandby(t *testing.T) {
	r := newRig(t, named("w", database, func(w *plugins.BackgroundWorker) { w.StartTime = plugins.StartAtRecoveryFinished }))
	r.server(shmem.ServerReadWrite, serverA)
	r.started("w")
	r.exit("w", sqlState("08006"))
	r.server(shmem.ServerStandby, serverB)
	r.trace = nil
	r.pass(time.Hour)
	r.want()
	r.wantWake(longestSleep)
	r.server(shmem.ServerReadWrite, serverB)
	r.want(start, spawned)
}

// SPEC 5: static workers start with their server, also those that wait for
// their restart time; dynamic ones go on waiting.
func TestSpec5ARestartOfTheServerEndsTheDelayOfStaticWorkers(t *testing.T) {
	for _, static := range []bool{true, false} {
		r := connected(t, static, restart(50))
		r.exit("w", code(1))
		r.trace = nil
		r.server(shmem.ServerReadWrite, serverA)
		r.want()
		r.server(shmem.ServerReadWrite, serverB)
		if static {
			r.want(start, spawned)
		} else {
			r.want()
			r.wantWake(50 * time.Second)
		}
	}
}

// SPEC 5: to learn the start time, or not to, is no restart.
func TestSpec5AnUnknownStartTimeIsNoRestart(t *testing.T) {
	r := newRig(t, named("w", restart(50)))
	r.started("w")
	r.exit("w", code(1))
	r.server(shmem.ServerReadWrite, serverA)
	r.server(shmem.ServerReadWrite, time.Time{})
	r.wantWake(50 * time.Second)
}

// A monitor that has no process publishes as soon as it has: no poke.
func TestSpec5PokesOnlyAMonitorThatRuns(t *testing.T) {
	const exited = `LOG: background worker "w type" (PID 102) exited with exit code 1`
	r := connected(t, true)
	r.exit("server monitor", code(1))
	r.trace = nil
	r.exit("w", sqlState("08006"))
	r.want("slot 0: pid 0", exited)

	r = connected(t, true)
	r.now = r.now.Add(time.Second)
	r.exit("server monitor", code(1))
	r.trace = nil
	r.exit("w", sqlState("08006")) // the monitor's start is unanswered
	r.want("slot 0: pid 0", exited)

	r = bareRig(t, []plugins.BackgroundWorker{named("w", database)}, "gateway")
	r.step(postmaster.Started{})
	r.started("gateway")
	r.server(shmem.ServerReadWrite, serverA)
	r.started("w")
	r.trace = nil
	r.exit("w", sqlState("08006"))
	r.want("slot 0: pid 0", exited)
}
