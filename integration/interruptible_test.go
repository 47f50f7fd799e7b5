//go:build linux

package integration

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/plugins"
)

// SPEC §18: the commands that need a database for themselves, on a server that
// knows nothing of the host. The server waits 5 seconds for whoever is connected.

func TestInterruptibleWorkersMakeRoomForCommandsOnTheirDatabase(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	commands := map[string]string{
		"dropped":    "DROP DATABASE dropped",
		"renamed":    "ALTER DATABASE renamed RENAME TO other",
		"moved":      "ALTER DATABASE moved SET TABLESPACE elsewhere",
		"a copied ü": `CREATE DATABASE copy TEMPLATE "a copied ü"`,
	}
	var workers []plugins.BackgroundWorker
	for database := range commands {
		execSQL(t, server.ConnInfo(), "CREATE DATABASE "+pgx.Identifier{database}.Sanitize())
		w := dbWorker("connect", database)
		w.Name, w.RestartTime = "in "+database, 0
		w.Flags |= plugins.Interruptible
		workers = append(workers, w)
	}
	execSQL(t, server.ConnInfo(), "CREATE DATABASE apart")
	bystander := dbWorker("connect", "apart")
	bystander.Name = "bystander"
	bystander.Flags |= plugins.Interruptible
	h := startHost(t, withServer(server.ConnInfo()), withWorkers(append(workers, bystander)...))
	h.waitLogCount(`LOG:  .* waits$`, len(commands)+1)

	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(withConn(t, server.ConnInfo(), func(ctx context.Context, conn *pgx.Conn) error {
		for _, sql := range []string{"SET allow_in_place_tablespaces = on", "CREATE TABLESPACE elsewhere LOCATION ''"} {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	}))
	for database, command := range commands {
		execSQL(t, server.ConnInfo(), command)
		h.waitLog(`DEBUG:  unregistering background worker "in ` + database + `"$`)
	}
	if n := h.count(`LOG:  terminating 1 interruptible background worker connected to database with OID \d+$`); n != len(commands) {
		t.Errorf("%d log lines say why", n)
	}
	if h.workerPid("bystander") == 0 || h.count(`unregistering background worker "bystander"$`) != 0 {
		t.Error("a worker in another database was ended")
	}
	h.stop()
}

func TestOtherWorkersMakeTheCommandFail(t *testing.T) {
	t.Parallel()
	conninfo := newDatabase(t, "occupied")
	h := startHost(t, withServer(sharedServer(t).ConnInfo()), withWorkers(dbWorker("connect", "occupied")))
	h.waitLog(`LOG:  db worker waits$`)
	err := withConn(t, sharedServer(t).ConnInfo(), func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "DROP DATABASE occupied")
		return err
	})
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "55006" || refused.Message != `database "occupied" is being accessed by other users` {
		t.Errorf("got %v", err)
	}
	if h.workerPid("db worker") == 0 {
		t.Error("the worker is gone")
	}
	h.stop()
	execSQL(t, conninfo, "SELECT 1") // it is there, and nobody keeps it from being dropped at the end
}
