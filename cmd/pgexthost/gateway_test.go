package main

import (
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// gatewayPsql runs psql through the gateway of a host, as the user who runs it.
func (i *installation) gatewayPsql(commands ...string) string {
	i.t.Helper()
	args := []string{"-XAt", "-v", "ON_ERROR_STOP=1", "-h", i.dir, "-p", "5433", "-U", userOf(i.server.ConnInfo()), "-d", "postgres"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out, err := exec.Command(i.server.Binaries().Program("psql"), args...).CombinedOutput()
	if err != nil {
		i.t.Fatalf("%q: %v\n%s", commands, err, out)
	}
	return strings.TrimSpace(string(out))
}

// The README's session is that of PostgreSQL's own documentation of worker_spi.
func TestAPsqlSessionOfPostgresOwnDocumentation(t *testing.T) {
	i := newInstallation(t)
	appendConfig(t, i.dir, "max_worker_processes = 12", "worker_spi.naptime = 60")
	i.start()

	if got := i.gatewayPsql("CREATE EXTENSION worker_spi", "SELECT worker_spi_launch(4) IS NOT NULL"); !strings.HasSuffix(got, "CREATE EXTENSION\nt") {
		t.Fatalf("got %q", got)
	}
	if got := i.gatewayPsql("SELECT count(worker_spi_launch(n)) FROM generate_series(5, 7) n"); got != "3" {
		t.Errorf("got %q workers", got)
	}
	eventually(t, "the worker's table", func() bool { return i.gatewayPsql("SELECT to_regclass('schema4.counted') IS NOT NULL") == "t" })
	i.gatewayPsql("INSERT INTO schema4.counted VALUES ('total', 0), ('delta', 3)")
	if got := i.gatewayPsql("SELECT pg_reload_conf()"); got != "t" {
		t.Errorf("pg_reload_conf: %q", got)
	}
	eventually(t, "the total", func() bool { return i.gatewayPsql("SELECT value FROM schema4.counted WHERE type = 'total'") == "3" })
	seen := "SELECT datname, wait_event FROM pg_stat_activity WHERE backend_type = 'worker_spi dynamic' AND pid = "
	pid := i.gatewayPsql("SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'worker_spi dynamic'")
	eventually(t, "the worker's wait event", func() bool { return i.gatewayPsql(seen+pid) == "postgres|WorkerSpiMain" })
	if got := i.gatewayPsql("SELECT pg_terminate_backend(" + pid + ")"); got != "t" {
		t.Errorf("pg_terminate_backend: %q", got)
	}
	eventually(t, "its end", func() bool { return i.gatewayPsql(seen+pid) == "" })
	if got := i.gatewayPsql("SHOW worker_spi.naptime"); got != "60" {
		t.Errorf("SHOW: %q", got)
	}
	i.run(0, "stop")
}

// A script can go on with psql, as after pg_ctl.
func TestStartWaitsForTheGateway(t *testing.T) {
	d := newHostDir(t)
	for range 3 {
		d.start(t)
		conn, err := net.Dial("unix", filepath.Join(d.path, ".s.PGSQL.5433"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		d.control(t, "stop").exactly(t, 0, stoppedText, "")
	}
}

func TestStartSaysThatTheGatewayDoesNotListen(t *testing.T) {
	d := newHostDir(t)
	nowhere := filepath.Join(filepath.Dir(d.path), "nowhere")
	warning := "pgexthost: the gateway does not listen on Unix socket \"" + nowhere + "/.s.PGSQL.5433\" yet\nExamine the log output.\n"
	d.control(t, "start", "-l", d.log, "-o", "-c unix_socket_directories="+nowhere).exactly(t, 0, startedText, warning)
	d.wantLogged(t, "the gateway could not listen on Unix socket")
	d.control(t, "stop").exactly(t, 0, stoppedText, "")

	appendConfig(t, d.path, "unix_socket_directories = ''") // no gateway at all
	d.start(t)
}

func TestWhereTheGatewayIsExpected(t *testing.T) {
	for want, c := range map[string]lockfile.Contents{
		"":                       {},
		"unix /s/.s.PGSQL.5433":  {Port: 5433, SocketDir: "/s", ListenAddress: "127.0.0.1"},
		"tcp [::1]:5433":         {Port: 5433, ListenAddress: "::1"},
		"tcp localhost:5433":     {Port: 5433, ListenAddress: "*"},
		"tcp db.example.com:543": {Port: 543, ListenAddress: "db.example.com"},
	} {
		network, address, _ := gatewayAddress(c)
		if got := strings.TrimSpace(network + " " + address); got != want {
			t.Errorf("%+v: got %q, want %q", c, got, want)
		}
	}
}

// userOf is the role that a connection string logs in as.
func userOf(conninfo string) string {
	for _, word := range strings.Fields(conninfo) {
		if user, ok := strings.CutPrefix(word, "user="); ok {
			return strings.Trim(user, "'")
		}
	}
	return "postgres"
}
