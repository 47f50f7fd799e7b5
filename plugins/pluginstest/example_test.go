package pluginstest_test

import (
	"os"
	"testing"

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

// The server's directory is deleted at the end.
func ExampleMain() {
	TestMain := func(m *testing.M) { os.Exit(pluginstest.Main(m)) }
	_ = TestMain
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
