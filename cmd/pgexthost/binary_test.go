package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// installation is pgexthost as somebody has built and installed it, with a data
// directory and a server of its own.
type installation struct {
	t      *testing.T
	prefix string
	dir    string
	server *localpg.Server
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	i := &installation{t: t, prefix: shortTempDir(t), server: extensionServer(t)}
	i.dir = filepath.Join(i.prefix, "data")
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(i.prefix, "bin", "pgexthost"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	i.run(0, "init", "-D", i.dir, "--server", i.server.ConnInfo())
	return i
}

// run runs the program to its end, and returns what it says.
func (i *installation) run(code int, args ...string) result {
	i.t.Helper()
	cmd := exec.Command(filepath.Join(i.prefix, "bin", "pgexthost"), args...)
	cmd.Env = append(os.Environ(), "PGEXTHOST_DATA="+i.dir)
	r := runToEnd(i.t, cmd)
	if r.code != code {
		i.t.Fatalf("pgexthost %s: exit code %d\n%s%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr, i.log())
	}
	return r
}

func (i *installation) log() string {
	text, _ := os.ReadFile(filepath.Join(i.prefix, "log"))
	return string(text)
}

// psql runs a command as a user would, and returns what it prints.
func (i *installation) psql(command string) string {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, i.server.Binaries().Program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", i.server.ConnInfo()+" dbname=app", "-c", command)
	out, err := cmd.CombinedOutput()
	if err != nil {
		i.t.Fatalf("%s: %v\n%s%s", command, err, out, i.log())
	}
	return strings.TrimSpace(string(out))
}

// start starts the host, which ends with the test.
func (i *installation) start() {
	i.t.Helper()
	i.run(0, "start", "-l", filepath.Join(i.prefix, "log"))
	i.t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(i.dir, "postmaster.pid")); err == nil { // the test has failed before it stopped it
			i.run(0, "stop", "-m", "immediate")
		}
	})
}

// What README.md and docs/SQL.md tell people to do, with the program that they
// build and the client that they use.
func TestTheInstalledProgramRunsWhatPsqlAsksFor(t *testing.T) {
	i := newInstallation(t)
	if i.server.Binaries().Program("psql") == "" {
		t.Skip("this installation has no psql")
	}
	scripts := filepath.Join(i.prefix, "share", "pgexthost", "extension")
	if err := os.MkdirAll(scripts, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"packaged--1.0.sql": "CREATE TABLE packaged ()", "packaged--drop.sql": "DROP TABLE packaged"} {
		if err := os.WriteFile(filepath.Join(scripts, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(i.server.Binaries().Program("psql"), "-Xq", "-d", i.server.ConnInfo(), "-c", "CREATE DATABASE app").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	i.start()
	for _, name := range []string{"pgexthost", "worker_spi", "packaged"} {
		i.run(0, "extension", "install", name, "-d", "app").want(t, 0, "installed extension \""+name+"\", version 1.0, in database \"app\"\n", "")
	}
	appendConfig(t, i.dir, "launcher_databases = 'app'", "worker_spi.naptime = 1")
	i.run(0, "reload")
	eventually(t, "the database is served", func() bool { return strings.Contains(i.log(), "LOG:  fulfilling the requests of database \"app\"") })

	pid := i.psql("CALL worker_spi_launch_and_wait(7, " + i.psql("SELECT oid FROM pg_database WHERE datname = 'app'") + ")")
	if title, err := os.ReadFile("/proc/" + pid + "/cmdline"); err != nil || !strings.Contains(string(title), "worker_spi dynamic worker 7") {
		t.Fatalf("pid %q is %q, %v", pid, title, err)
	}
	eventually(t, "its table", func() bool { return i.psql("SELECT to_regclass('schema7.counted') IS NOT NULL") == "t" })
	i.psql("INSERT INTO schema7.counted VALUES ('total', 0), ('delta', 1), ('delta', 2)")
	eventually(t, "its sum", func() bool { return i.psql("SELECT string_agg(type || value, ',') FROM schema7.counted") == "total3" })
	if got := i.psql("SELECT name, state, pid FROM pgexthost.workers"); got != "worker_spi dynamic worker 7|running|"+pid {
		t.Errorf("workers: %s", got)
	}
	i.run(1, "extension", "drop", "worker_spi", "-d", "nope")
	i.run(0, "extension", "drop", "packaged", "-d", "app")
	i.run(0, "extension", "drop", "worker_spi", "-d", "app")
	i.run(1, "extension", "drop", "pgexthost", "-d", "app").want(t, 1, "", "pgexthost: error: cannot drop extension \"pgexthost\" because workers run\n")
	if got := i.psql("SELECT pgexthost.terminate(1)") + i.psql("SELECT pgexthost.wait_for_shutdown(1)"); got != "tended" {
		t.Errorf("terminate: %s", got)
	}
	i.run(0, "extension", "drop", "pgexthost", "-d", "app").want(t, 0, "dropped extension \"pgexthost\" from database \"app\"\n", "")
	if got := i.psql("SELECT to_regnamespace('pgexthost') IS NULL"); got != "t" {
		t.Error("the schema is still there")
	}
	i.run(0, "stop")
	if strings.Contains(i.log(), "ERROR:") || strings.Contains(i.log(), "PANIC:") {
		t.Errorf("the log has errors:\n%s", i.log())
	}
}
