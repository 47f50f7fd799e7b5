package pluginstest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/plugins/pluginstest"
	"github.com/pgexthost/pgexthost/workerspi"
)

func mustExec(t testing.TB, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func number(t testing.TB, conn *pgx.Conn, query string) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWorkersOfOneLibraryRunBesideEachOther(t *testing.T) {
	t.Parallel()
	for i := range 3 {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			t.Parallel()
			db := pluginstest.Server(t).NewDatabase(t)
			conn := db.Connect(t)
			w := pluginstest.Start(t, workerspi.Library(), "worker_spi_main", pluginstest.Options{
				Server:       db,
				Settings:     map[string]string{"worker_spi.naptime": fmt.Sprint(i + 1), "worker_spi.database": conn.Config().Database},
				Registration: plugins.BackgroundWorker{Name: fmt.Sprintf("spi %d", i), MainArg: int64(i + 1)},
			})
			w.AwaitWait(t)
			table := fmt.Sprintf("schema%d.counted", i+1)
			for round := range 3 {
				if round == 0 {
					mustExec(t, conn, "INSERT INTO "+table+" VALUES ('total', 0)")
				}
				mustExec(t, conn, "INSERT INTO "+table+" VALUES ('delta', 1), ('delta', 10)")
				w.Advance(t)
				if got := number(t, conn, "SELECT sum(value) FROM "+table+" WHERE type = 'total'"); got != 11*(round+1) {
					t.Errorf("round %d: total %d", round, got)
				}
			}
			w.AwaitLog(t, fmt.Sprintf("LOG:  spi %d: count in %s is now 33", i, table))
			w.Set(t, "worker_spi.naptime", "1h") // SIGHUP forces a round
			w.AwaitLog(t, "invalid value for parameter \"worker_spi.naptime\": \"1h\"")
		})
	}
}

func TestANewDatabaseIsEmptyAndGoneAfterTheTest(t *testing.T) {
	t.Parallel()
	server := pluginstest.Server(t)
	var name string
	t.Run("test", func(t *testing.T) {
		conn := server.NewDatabase(t).Connect(t)
		name = conn.Config().Database
		mustExec(t, conn, "CREATE TABLE mine ()")
	})
	conn := server.Connect(t)
	if n := number(t, conn, "SELECT count(*) FROM pg_database WHERE datname = '"+name+"'"); n != 0 || name == "" {
		t.Errorf("database %q is there", name)
	}
	if again := pluginstest.Server(t).Conninfo(); again != server.Conninfo() {
		t.Errorf("got another server, %s", again)
	}
}

func TestADatabaseCanBeOfSomebodyElsesServer(t *testing.T) {
	t.Parallel()
	conn := pluginstest.Server(t).Connect(t)
	host := conn.Config().Host
	for _, conninfo := range []string{"host=" + host + " user=postgres", "postgres://postgres@/?host=" + host, "postgres://postgres@/postgres?host=" + host} {
		db := pluginstest.At(conninfo).NewDatabase(t)
		if name := db.Connect(t).Config().Database; name == "postgres" {
			t.Errorf("%s leads to %s", db.Conninfo(), name)
		}
	}
}

// listener is the loop of a worker that waits for notifications.
func listener(ctx context.Context, w *plugins.Worker) error {
	conn, err := connect.InitializeConnection(ctx, w, "", "", 0)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "LISTEN job"); err != nil {
		return err
	}
	for {
		limited, cancel := context.WithTimeout(ctx, time.Hour)
		n, err := conn.WaitForNotification(limited)
		cancel()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			w.Logf(elog.Log, "told %s", n.Payload)
		case connect.IsStatementCancelled(err):
			w.Logf(elog.Log, "looking around")
		default:
			return err
		}
	}
}

func TestAWaitForANotificationCanBeAwaitedAndAdvanced(t *testing.T) {
	t.Parallel()
	db := pluginstest.Server(t).NewDatabase(t)
	conn := db.Connect(t)
	w := pluginstest.Start(t, of(listener), "main", pluginstest.Options{Server: db})
	for i := range 3 {
		w.AwaitNextWait(t, func() { mustExec(t, conn, fmt.Sprintf("NOTIFY job, 'no. %d'", i)) })
		w.Advance(t)
	}
	if ev := w.WaitEvent(); ev.Name != "WaitForNotification" {
		t.Errorf("it waits for %v", ev)
	}
	want := []string{"told no. 0", "looking around", "told no. 1", "looking around", "told no. 2", "looking around"}
	for i, r := range w.Log() {
		if i >= len(want) || r.Message != want[i] {
			t.Errorf("record %d: %v", i, r)
		}
	}
	if got := len(w.Log()); got != len(want) {
		t.Errorf("%d records", got)
	}
	w.Signal(t, unix.SIGTERM)
	if exit := w.Wait(t); exit.SQLState != elog.AdminShutdown {
		t.Errorf("got %+v", exit)
	}
}

func TestSIGINTCancelsTheStatementAndNotTheSession(t *testing.T) {
	t.Parallel()
	db := pluginstest.Server(t)
	conn := db.Connect(t)
	w := pluginstest.Start(t, of(func(ctx context.Context, w *plugins.Worker) error {
		conn, err := connect.InitializeConnection(ctx, w, "", "", 0)
		if err != nil {
			return err
		}
		if _, err = conn.Exec(ctx, "SELECT pg_sleep(3600)"); !connect.IsStatementCancelled(err) {
			return fmt.Errorf("it was not cancelled: %w", err)
		}
		_, err = conn.Exec(ctx, "SELECT 1")
		return errors.Join(err, conn.InTransaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "SELECT 1/0")
			return err
		}))
	}), "main", pluginstest.Options{Server: db, Registration: plugins.BackgroundWorker{Name: "sleeper"}})
	for number(t, conn, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sleeper' AND wait_event = 'PgSleep'") == 0 {
		w.Signal(t, unix.SIGHUP) // nothing comes of it
	}
	w.Signal(t, unix.SIGINT)
	if exit := w.Wait(t); exit.Code != 1 || exit.SQLState != "22012" {
		t.Errorf("got %+v", exit)
	}
	if r := w.AwaitLog(t, "division by zero"); r.Statement != "SELECT 1/0" || r.SQLState != "22012" || r.Level != elog.Error {
		t.Errorf("got %#v", r)
	}
}

func TestAWorkerThatHasEndedHasNoSession(t *testing.T) {
	t.Parallel()
	db := pluginstest.Server(t).NewDatabase(t)
	w := pluginstest.Start(t, of(func(ctx context.Context, w *plugins.Worker) error {
		_, err := connect.InitializeConnection(ctx, w, "", "", 0)
		return err
	}), "main", pluginstest.Options{Server: db, Registration: plugins.BackgroundWorker{Name: "passer-by"}})
	if exit := w.Wait(t); exit.Code != 0 {
		t.Fatalf("got %+v", exit)
	}
	conn := db.Connect(t)
	limit := time.Now().Add(30 * time.Second) // the server takes a moment to notice
	for number(t, conn, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'passer-by'") > 0 {
		if time.Now().After(limit) {
			t.Fatal("its session is there")
		}
	}
}

func TestSetIsAReload(t *testing.T) {
	t.Parallel()
	w := pluginstest.Start(t, kit(), "greet", pluginstest.Options{Settings: map[string]string{"log_min_messages": "log", "kit.greeting": "hello"}})
	w.AwaitLog(t, "kit greeter says hello 5")
	w.AwaitWait(t)
	w.Set(t, "KIT.Greeting", "good night")
	w.AwaitWait(t)
	if r := w.Log()[len(w.Log())-1]; r.Message != "kit greeter says good night 5 " {
		t.Errorf("got %v", r)
	}
	w.Set(t, "kit.order", "newest") // of context postmaster
	w.AwaitWait(t)
	w.AwaitLog(t, "parameter \"kit.order\" cannot be changed without restarting the server")
	w.Set(t, "kit.naptime", "2d")
	w.AwaitLog(t, "is outside the valid range for parameter \"kit.naptime\"")
	w.AwaitLog(t, "background worker \"refused\": background workers without shared memory access are not supported")
}
