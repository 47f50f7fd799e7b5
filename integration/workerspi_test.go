//go:build linux

package integration

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/workerspi"
)

// worker_spi as PostgreSQL's own test has it: the schema appears, the user
// inserts the total row and deltas, totals follow.
func TestWorkerSpiTotalsFollow(t *testing.T) {
	t.Parallel()
	conninfo := newDatabase(t, "spi")
	dir := newDataDir(t, conninfo)
	appendTo(t, dir, "worker_spi.naptime = 2147483\n")
	h := startHost(t, inDir(dir), withServer(conninfo), withSetting("shared_preload_libraries=worker_spi"), withSetting("worker_spi.database=spi"))
	h.waitLog(`LOG:  worker_spi worker 1 initialized with schema1\.counted$`)
	h.waitLog(`LOG:  worker_spi worker 2 initialized with schema2\.counted$`)
	execSQL(t, conninfo, "INSERT INTO schema1.counted VALUES ('total', 0), ('delta', 1), ('delta', 2)")

	// SIGHUP forces a loop, long before the nap is over.
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  worker_spi worker 1: count in schema1\.counted is now 3$`)
	if n := query[int](t, conninfo, "SELECT value FROM schema1.counted"); n != 3 {
		t.Errorf("the total is %d", n)
	}
	// A changed naptime takes effect.
	appendTo(t, dir, "worker_spi.naptime = 1\n")
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  parameter "worker_spi.naptime" changed to "1"$`)
	execSQL(t, conninfo, "INSERT INTO schema1.counted VALUES ('delta', 4)")
	h.waitLog(`LOG:  worker_spi worker 1: count in schema1\.counted is now 7$`)
	// Without a total row deltas are lost, as in C.
	execSQL(t, conninfo, "INSERT INTO schema2.counted VALUES ('delta', 1)")
	h.eventually("the delta to be lost", func() bool {
		return query[int](t, conninfo, "SELECT count(*) FROM schema2.counted") == 0
	})
	h.stop()
}

func TestWorkerSpiConnectsByTheOIDInItsExtra(t *testing.T) {
	t.Parallel()
	conninfo := newDatabase(t, "by_oid")
	oid := query[uint32](t, conninfo, "SELECT oid FROM pg_database WHERE datname = current_database()")
	h := startHost(t, withServer(sharedServer(t).ConnInfo()), withWorkers(workerspi.DynamicWorker(3, workerspi.Extra{Database: oid})))
	h.waitLog(`LOG:  worker_spi dynamic worker 3 initialized with schema3\.counted$`)
	if n := query[int](t, conninfo, "SELECT count(*) FROM schema3.counted"); n != 0 {
		t.Errorf("the new table has %d rows", n)
	}
	h.stop()
}

func TestWorkerSpiTotalWorkersIsForTheStartOnly(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t, "")
	h := startHost(t, inDir(dir), withSetting("shared_preload_libraries=worker_spi"))
	h.waitLog(`extension host is ready$`)
	appendTo(t, dir, "worker_spi.total_workers = 3\n")
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  parameter "worker_spi\.total_workers" cannot be changed without restarting the server$`)
	h.stop()
}

// The server restarts under the workers: static workers come back although
// they never restart (SPEC §5).
func TestWorkerSpiSurvivesARestartAndACrashOfTheServer(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	server := ownServer(t)
	h := startHost(t, withServer(server.ConnInfo()), withSetting("shared_preload_libraries=worker_spi"),
		withSetting("worker_spi.naptime=1"), withSetting("worker_spi.total_workers=1"))
	h.waitLog(`LOG:  worker_spi worker 1 initialized`)
	execSQL(t, server.ConnInfo(), "INSERT INTO schema1.counted VALUES ('total', 0)")
	for i, goDown := range []func() error{
		func() error { return server.StopServer(t.Context()) },
		server.Crash,
	} {
		h.waitLogCount(`count in schema1\.counted is now`, 2)
		if err := goDown(); err != nil {
			t.Fatal(err)
		}
		h.waitLogCount(`LOG:  background worker "worker_spi" \(PID \d+\) exited with exit code 1$`, i+1)
		h.waitLogCount(`LOG:  lost connection to the server`, i+1)
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.waitLogCount(`LOG:  worker_spi worker 1 initialized`, i+2)
	}
	h.stop()
}
