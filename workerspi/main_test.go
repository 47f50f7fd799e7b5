package workerspi

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

// counter is a worker of the library in a database of its own.
type counter struct {
	*pluginstest.Worker
	conn *pgx.Conn
}

func startCounter(t *testing.T, registration plugins.BackgroundWorker) counter {
	t.Helper()
	db := pluginstest.Server(t).NewDatabase(t)
	c := counter{conn: db.Connect(t)}
	c.Worker = pluginstest.Start(t, Library(), mainFunction, pluginstest.Options{
		Server: db, Registration: registration, Settings: map[string]string{"worker_spi.database": c.conn.Config().Database},
	})
	c.AwaitWait(t)
	return c
}

func (c counter) insert(t *testing.T, table, rows string) {
	t.Helper()
	_, err := c.conn.Exec(context.Background(), "INSERT INTO "+table+" VALUES "+rows)
	check(t, err)
}

func TestAWorkerCountsEachTimeItsNaptimeIsOver(t *testing.T) {
	t.Parallel()
	c := startCounter(t, staticWorker(2))
	c.AwaitLog(t, "LOG:  worker_spi worker 2 initialized with schema2.counted")
	if ev := c.WaitEvent(); ev != waitEvent {
		t.Errorf("it waits for %v", ev)
	}
	c.insert(t, "schema2.counted", "('total', 1), ('delta', 10)")
	c.Advance(t)
	c.AwaitLog(t, "LOG:  worker_spi worker 2: count in schema2.counted is now 11")
	c.insert(t, "schema2.counted", "('delta', 20), ('delta', 300)")
	c.Advance(t)
	c.AwaitLog(t, "LOG:  worker_spi worker 2: count in schema2.counted is now 331")
}

// Without a total there is nothing to tell.
func TestAWorkerSaysNothingWithoutATotal(t *testing.T) {
	t.Parallel()
	c := startCounter(t, plugins.BackgroundWorker{})
	before := len(c.Log())
	c.insert(t, "schema1.counted", "('delta', 10)")
	c.Advance(t)
	if log := c.Log(); len(log) != before {
		t.Errorf("it has logged %v", log[before:])
	}
}

func TestSIGHUPForcesALoopAndBringsNewSettings(t *testing.T) {
	t.Parallel()
	c := startCounter(t, plugins.BackgroundWorker{})
	c.insert(t, "schema1.counted", "('total', 1)")
	c.Set(t, "worker_spi.naptime", "3600")
	c.AwaitWait(t)
	c.AwaitLog(t, "count in schema1.counted is now 1")
	c.AwaitLog(t, "parameter \"worker_spi.naptime\" changed to \"3600\"")
	c.Set(t, "worker_spi.total_workers", "3")
	c.AwaitWait(t)
	c.AwaitLog(t, "parameter \"worker_spi.total_workers\" cannot be changed without restarting the server")
}

func TestADynamicWorkerConnectsByOID(t *testing.T) {
	t.Parallel()
	db := pluginstest.Server(t).NewDatabase(t)
	var database, role uint32
	check(t, db.Connect(t).QueryRow(t.Context(), `SELECT d.oid, r.oid FROM pg_database d, pg_roles r
		WHERE d.datname = current_database() AND r.rolname = current_user`).Scan(&database, &role))
	w := pluginstest.Start(t, Library(), mainFunction, pluginstest.Options{
		Server: db, Registration: DynamicWorker(4, Extra{Database: database, Role: role}),
	})
	w.AwaitLog(t, "LOG:  worker_spi dynamic worker 4 initialized with schema4.counted")
	w.Signal(t, unix.SIGTERM)
	if exit := w.Wait(t); exit.Code != 1 || exit.SQLState != elog.AdminShutdown {
		t.Errorf("got %+v", exit)
	}
	w.AwaitLog(t, "FATAL:  terminating background worker \"worker_spi dynamic\" due to administrator command")
}

func TestAWorkerEndsWithTheErrorOfTheServer(t *testing.T) {
	t.Parallel()
	w := pluginstest.Start(t, Library(), mainFunction, pluginstest.Options{
		Server: pluginstest.Server(t), Settings: map[string]string{"worker_spi.database": "nosuch"},
	})
	if exit := w.Wait(t); exit.Code != 1 || exit.SQLState != elog.UndefinedDatabase {
		t.Errorf("got %+v", exit)
	}
	c := startCounter(t, plugins.BackgroundWorker{})
	_, err := c.conn.Exec(t.Context(), "DROP SCHEMA schema1 CASCADE")
	check(t, err)
	c.Advance(t)
	if exit := c.Wait(t); exit.SQLState != "42P01" {
		t.Errorf("got %+v", exit)
	}
	if r := c.AwaitLog(t, "does not exist"); !strings.HasPrefix(r.Statement, "WITH deleted AS") || r.Level != elog.Error {
		t.Errorf("got %v", r)
	}
}
