//go:build linux

package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// pooler starts PgBouncer in transaction mode before a server, and returns the
// port on which it listens.
func pooler(t *testing.T, server *localpg.Server) int {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // not on everybody's PATH
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("there is no PgBouncer: apt-get install pgbouncer")
	}
	dir := shortTempDir(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	config := filepath.Join(dir, "pgbouncer.ini")
	// With auth_type any, the user of each connection is the one given here.
	text := fmt.Sprintf("[databases]\n* = host=%s port=%d user=requester\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\n"+
		"auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n", server.Dir(), server.Port(), port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if os.Geteuid() == 0 { // it refuses to run as root
		nobody, err := user.Lookup("postgres")
		if err != nil {
			t.Skip(err)
		}
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return port
}

// A pooler in transaction mode keeps no session: nothing that a client does may
// depend on one.
func TestRequestsGoThroughAPoolerInTransactionMode(t *testing.T) {
	server := privateServer(t)
	r := newRequests(t, server)
	port := pooler(t, server)
	h := r.host()
	h.waitLog("fulfilling the requests")
	conninfo := fmt.Sprintf("host=127.0.0.1 port=%d user=requester dbname=%s sslmode=disable default_query_exec_mode=simple_protocol", port, r.database)
	var conn *pgx.Conn
	h.eventually("the pooler", func() bool {
		var err error
		conn, err = pgx.Connect(t.Context(), conninfo)
		return err == nil
	})
	defer conn.Close(t.Context())
	for arg := range 20 {
		end := []string{"COMMIT", "ROLLBACK"}[arg%2]
		for _, s := range []string{"BEGIN", fmt.Sprintf("SELECT pgexthost.launch('effects', 'once', main_arg => %d)", arg), end} {
			if _, err := conn.Exec(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	var pid int
	if err := conn.QueryRow(t.Context(), "CALL pgexthost.launch_and_wait('effects', 'stay', 'stays', main_arg => 100)").Scan(&pid); err != nil || pid == 0 {
		t.Fatalf("%d, %v", pid, err)
	}
	var state string
	if err := conn.QueryRow(t.Context(), "SELECT pgexthost.terminate('stays')::text").Scan(&state); err != nil || state != "true" {
		t.Errorf("%s, %v", state, err)
	}
	for begin := time.Now(); state != "ended" && time.Since(begin) < limit; {
		if err := conn.QueryRow(t.Context(), "SELECT pgexthost.wait_for_shutdown(max(id)) FROM pgexthost.requests").Scan(&state); err != nil {
			t.Fatal(err)
		}
	}
	r.await("SELECT count(*) FROM pgexthost.requests WHERE state = 'ended'", "11")
	for arg := range 20 {
		if got := r.starts()[arg]; got != 1-arg%2 {
			t.Errorf("request %d has started %d times", arg, got)
		}
	}
	h.stop()
}
