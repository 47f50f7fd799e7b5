package pluginstest_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/plugins/pluginstest"
	"github.com/pgexthost/pgexthost/workerspi"
)

// The life of a worker, from its first wait to its end. worker_spi adds up the
// deltas of its table each time its naptime is over.
func ExampleStart() {
	_ = func(t *testing.T) {
		db := pluginstest.Server(t).NewDatabase(t)
		conn := db.Connect(t)
		w := pluginstest.Start(t, workerspi.Library(), "worker_spi_main", pluginstest.Options{
			Server:   db,
			Settings: map[string]string{"worker_spi.database": conn.Config().Database},
		})
		w.AwaitWait(t) // its table is there
		if _, err := conn.Exec(t.Context(), "INSERT INTO schema1.counted VALUES ('total', 1), ('delta', 2)"); err != nil {
			t.Fatal(err)
		}
		w.Advance(t) // ten seconds are over, in a moment
		w.AwaitLog(t, "count in schema1.counted is now 3")

		w.Signal(t, unix.SIGTERM)
		if exit := w.Wait(t); exit.Code != 1 || exit.SQLState != elog.AdminShutdown {
			t.Errorf("it has ended with %+v", exit)
		}
	}
}

// A worker that was registered at run time has what its launcher has given it.
func ExampleOptions() {
	_ = func(t *testing.T) {
		w := pluginstest.Start(t, workerspi.Library(), "worker_spi_main", pluginstest.Options{
			Server:       pluginstest.At(os.Getenv("TEST_SERVER")), // one that somebody else has started
			Registration: workerspi.DynamicWorker(7, workerspi.Extra{Database: 5, Flags: 0}),
			Settings:     map[string]string{"log_min_messages": "debug1"},
		})
		w.AwaitLog(t, "worker_spi dynamic worker 7 initialized with schema7.counted")
	}
}

// The server's directory is deleted at the end. A library is given for the hosts of
// StartHost, which the test binary is the program of.
func ExampleMain() {
	TestMain := func(m *testing.M) { os.Exit(pluginstest.Main(m, workerspi.Library())) }
	_ = TestMain
}

// A worker that is killed is started again by its host, and after a crash of the
// server, too.
func ExampleStartHost() {
	_ = func(t *testing.T) {
		cluster := pluginstest.NewCluster(t) // which the test may crash
		h := pluginstest.StartHost(t, pluginstest.HostOptions{
			Server:   cluster.NewDatabase(t),
			Settings: map[string]string{"worker_spi.total_workers": "1", "crash_scope": "worker"},
		})
		first := h.AwaitLog(t, "worker_spi worker 1 initialized with schema1.counted")
		if err := unix.Kill(h.WorkerPid(t, "worker_spi worker 1"), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if again := h.AwaitLogs(t, first.Message, 2); again[1].Pid == first.Pid {
			t.Errorf("it still is %s", first.Worker)
		}
		cluster.Crash(t)
		cluster.Restart(t)
		h.AwaitLogs(t, first.Message, 3)
		h.Stop(t)
	}
}

// An executable, as it is installed, under the pgexthost that is on PATH.
func ExampleHostOptions() {
	_ = func(t *testing.T) {
		lib := t.TempDir()
		if out, err := exec.Command("go", "build", "-o", lib, "./cmd/worker_spi").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		h := pluginstest.StartHost(t, pluginstest.HostOptions{
			Server:   pluginstest.Server(t).NewDatabase(t),
			Settings: map[string]string{"dynamic_library_path": lib, "shared_preload_libraries": "worker_spi"},
			Command:  func(dir string) *exec.Cmd { return exec.Command("pgexthost", "run", "-D", dir) },
		})
		h.AwaitLog(t, "worker_spi worker 2 initialized with schema2.counted")
	}
}

// A host that is killed leaves no worker behind; the next one, in the same
// directory, begins anew.
func ExampleHost_Kill() {
	_ = func(t *testing.T, h *pluginstest.Host) {
		t.Logf("host %d has its files in %s", h.Pid(), h.Dir())
		h.Kill(t)
		h.Start(t)
	}
}

// A smart shutdown waits for workers; what they have to say is in the log.
func ExampleHost_Wait() {
	_ = func(t *testing.T, h *pluginstest.Host) {
		h.Signal(t, unix.SIGTERM)
		if code := h.Wait(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		for _, r := range h.Log() {
			if r.Level == elog.Warning {
				t.Error(r)
			}
		}
	}
}

// A reload reaches the worker some time later.
func ExampleHost_Set() {
	_ = func(t *testing.T, h *pluginstest.Host) {
		h.Set(t, "worker_spi.naptime", "1")
		h.AwaitLog(t, "parameter \"worker_spi.naptime\" changed to \"1\"")
	}
}

// What a worker does to a database, no log may tell.
func ExampleAwait() {
	_ = func(t *testing.T, conn *pgx.Conn) {
		pluginstest.Await(t, "the sum", func() (done bool) {
			err := conn.QueryRow(t.Context(), "SELECT value = 3 FROM schema1.counted WHERE type = 'total'").Scan(&done)
			return err == nil && done
		})
	}
}

// Workers without a server, while it is down for maintenance.
func ExampleCluster_Stop() {
	_ = func(t *testing.T, c *pluginstest.Cluster, h *pluginstest.Host) {
		c.Stop(t)
		h.AwaitLog(t, "lost connection to the server")
		c.Restart(t)
	}
}

// A value comes into force when the worker has read it; one that is refused is in
// the log.
func ExampleWorker_Set() {
	_ = func(t *testing.T, w *pluginstest.Worker) {
		w.AwaitWait(t)
		w.Set(t, "worker_spi.naptime", "0")
		w.AwaitWait(t)
		for _, r := range w.Log() {
			if r.SQLState == elog.InvalidParameterValue {
				t.Log(r.String())
			}
		}
	}
}

// What comes from outside may take a while to reach the worker: the next wait is the
// one after it.
func ExampleWorker_AwaitNextWait() {
	_ = func(t *testing.T, w *pluginstest.Worker, db *pluginstest.Postgres) {
		conn := db.Connect(t)
		t.Log("listening at ", db.Conninfo())
		w.AwaitNextWait(t, func() {
			if _, err := conn.Exec(t.Context(), "NOTIFY queue"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A worker that is woken by another one, which sets its latch.
func ExampleWorker_SetLatch() {
	_ = func(t *testing.T, w *pluginstest.Worker) {
		w.AwaitWait(t)
		if ev := w.WaitEvent(); ev != plugins.ExtensionWait("MineMain") {
			t.Errorf("it waits for %v", ev)
		}
		w.SetLatch()
		w.AwaitWait(t) // what it was woken for is done
	}
}
