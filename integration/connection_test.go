//go:build linux

package integration

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// dbWorker is a worker with a connection; database goes to its Extra.
func dbWorker(function, database string) plugins.BackgroundWorker {
	w := plugins.BackgroundWorker{
		Name: "db worker", Type: "kind", FunctionName: function, Flags: plugins.BackendDatabaseConnection,
		StartTime: plugins.StartAtRecoveryFinished, RestartTime: plugins.NeverRestart,
	}
	copy(w.Extra[:], database)
	return w
}

func TestAWorkerShowsInPgStatActivityUnderItsName(t *testing.T) {
	t.Parallel()
	server := sharedServer(t)
	conninfo := newDatabase(t, "activity")
	h := startHost(t, withWorkers(dbWorker("connect", "activity")), withServer(server.ConnInfo()))
	h.waitLog(`LOG:  db worker is connected to activity$`)
	if n := query[int](t, conninfo, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'db worker' AND datname = 'activity'`); n != 1 {
		t.Errorf("%d sessions", n)
	}
	h.stop()
	h.eventually("the session to be gone", func() bool {
		return query[int](t, conninfo, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'db worker' AND datname = 'activity'`) == 0
	})
}

func TestConnectionErrorsOfSPEC11(t *testing.T) {
	conninfo := sharedServer(t).ConnInfo()
	newDatabase(t, "closed_door")
	execSQL(t, conninfo, "ALTER DATABASE closed_door ALLOW_CONNECTIONS false")
	withoutFlag := dbWorker("connect", "")
	withoutFlag.Flags = 0
	for name, tt := range map[string]struct {
		worker plugins.BackgroundWorker
		says   string
	}{
		"no database":     {dbWorker("connect", "atlantis"), `FATAL:  database "atlantis" does not exist \(SQLSTATE 3D000\)$`},
		"not accepting":   {dbWorker("connect", "closed_door"), `FATAL:  database "closed_door" is not currently accepting connections \(SQLSTATE 55000\)$`},
		"without flag":    {withoutFlag, `FATAL:  database connection requirement not indicated during registration \(SQLSTATE 54000\)$`},
		"second call":     {dbWorker("connect_twice", ""), `ERROR:  invalid processing mode in background worker`},
		"another's user":  {dbWorker("connect_as", "pg_monitor"), `FATAL:  role "pg_monitor" is not permitted to log in \(SQLSTATE 28000\)$`},
		"nobody's user":   {dbWorker("connect_as", "nemo"), `FATAL:  role "nemo" does not exist \(SQLSTATE 28000\)$`},
		"the host's user": {dbWorker("connect_as", "postgres"), `LOG:  db worker is connected to postgres$`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHost(t, withWorkers(tt.worker), withServer(conninfo))
			h.waitLog(tt.says)
			h.stop()
		})
	}
}

// SPEC §10: SIGINT cancels the statement by a CancelRequest; the session
// survives.
func TestSigintCancelsTheStatement(t *testing.T) {
	t.Parallel()
	conninfo := sharedServer(t).ConnInfo()
	h := startHost(t, withWorkers(dbWorker("sleep_query", "")), withServer(conninfo))
	pid := h.workerPid("db worker")
	for i := range 3 {
		h.waitLogCount(`LOG:  db worker sleeps in the server$`, i+1)
		h.eventually("the statement to run", func() bool {
			return query[int](t, conninfo, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'db worker' AND query LIKE 'SELECT pg_sleep%' AND state = 'active'`) == 1
		})
		if err := unix.Kill(pid, unix.SIGINT); err != nil {
			t.Fatal(err)
		}
		h.waitLogCount(`LOG:  db worker: ERROR: canceling statement due to user request \(SQLSTATE 57014\)$`, i+1)
	}
	h.stop()
}

// A SIGTERM does not leave the statement running in the server.
func TestSigtermCancelsTheStatementToo(t *testing.T) {
	t.Parallel()
	conninfo := newDatabase(t, "sigterm")
	h := startHost(t, withWorkers(dbWorker("sleep_query", "")), withServer(conninfo))
	h.eventually("the statement to run", func() bool {
		return query[int](t, conninfo, `SELECT count(*) FROM pg_stat_activity WHERE datname = 'sigterm' AND query LIKE 'SELECT pg_sleep%' AND state = 'active'`) == 1
	})
	h.stop()
	h.waitLog(`FATAL:  terminating background worker "kind" due to administrator command$`)
	h.eventually("the session to be gone", func() bool {
		return query[int](t, conninfo, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'db worker' AND datname = 'sigterm'`) == 0
	})
}

// A worker that is killed does not run on in the server beside the one that
// replaces it.
func TestAKilledWorkersStatementEndsToo(t *testing.T) {
	t.Parallel()
	conninfo := newDatabase(t, "killed")
	w := dbWorker("sleep_query", "")
	w.RestartTime = 3600
	h := startHost(t, withWorkers(w), withServer(conninfo))
	const running = `SELECT count(*) FROM pg_stat_activity WHERE datname = 'killed' AND query LIKE 'SELECT pg_sleep%' AND state = 'active'`
	h.eventually("the statement to run", func() bool { return query[int](t, conninfo, running) == 1 })
	if err := unix.Kill(h.workerPid("db worker"), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.waitLog(`LOG:  background worker "kind" \(PID \d+\) was terminated by signal 9: Killed$`)
	h.eventually("the statement to end", func() bool { return query[int](t, conninfo, running) == 0 })
	h.stop()
}

func TestPasswordsAreNotLoggedAtReload(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t, "")
	h := startHost(t, inDir(dir), withServer(sharedServer(t).ConnInfo()))
	h.waitLog(`extension host is ready`)
	appendTo(t, dir, "server_conninfo = 'host=/nonexistent password=open_sesame'\n")
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  parameter "server_conninfo" changed$`)
	h.waitLog(`LOG:  waiting for the server: `)
	h.stop()
	if n := h.count(`sesame`); n != 0 {
		t.Errorf("the password is in %d lines of the log", n)
	}
}

// workerPid waits for the worker of that name to run and returns its pid.
func (h *testHost) workerPid(name string) int {
	h.t.Helper()
	var pid int
	h.eventually("the worker to run", func() bool {
		for _, child := range h.children() {
			if processTitle(child) == "pgexthost: "+name {
				pid = child
			}
		}
		return pid != 0
	})
	return pid
}
