package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// "pgexthost reload" makes worker_spi loop at once, however long its nap, and a
// changed naptime take effect.
func TestReloadWakesWorkerSpi(t *testing.T) {
	server, err := localpg.Start(t.Context(), localpg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	dir := configured(t, server.ConnInfo(), "shared_preload_libraries = worker_spi", "worker_spi.total_workers = 1", "worker_spi.naptime = 2147483")
	logFile := filepath.Join(shortTempDir(t), "log")
	pgexthost(t, "start", "-D", dir, "-l", logFile).want(t, 0, "server started\n", "")
	t.Cleanup(func() { pgexthost(t, "stop", "-D", dir).want(t, 0, "server stopped\n", "") })
	logged := func(text string) {
		t.Helper()
		eventually(t, "log: "+text, func() bool {
			log, err := os.ReadFile(logFile)
			return err == nil && strings.Contains(string(log), text)
		})
	}
	logged("worker_spi worker 1 initialized with schema1.counted")
	conn, err := pgx.Connect(t.Context(), server.ConnInfo())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("INSERT INTO schema1.counted VALUES ('total', 0), ('delta', 1), ('delta', 2)")
	pgexthost(t, "reload", "-D", dir).want(t, 0, "server signaled\n", "")
	logged("worker_spi worker 1: count in schema1.counted is now 3")

	appendConfig(t, dir, "worker_spi.naptime = 1")
	pgexthost(t, "reload", "-D", dir).want(t, 0, "server signaled\n", "")
	logged(`LOG:  parameter "worker_spi.naptime" changed to "1"`)
	exec("INSERT INTO schema1.counted VALUES ('delta', 4)")
	logged("worker_spi worker 1: count in schema1.counted is now 7")
	exec("INSERT INTO schema1.counted VALUES ('delta', 8)") // and without another reload
	logged("worker_spi worker 1: count in schema1.counted is now 15")
}
