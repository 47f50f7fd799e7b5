package servermonitor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/shmem"
)

// template is what the real servers of this package's tests are copied from.
var template *localpg.Template

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	var err error
	if template, err = localpg.NewTemplate(context.Background(), localpg.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = template.Close() }()
	return m.Run()
}

func startServer(t *testing.T, opts localpg.Options) *localpg.Server {
	t.Helper()
	if opts.Populate == nil {
		opts.Populate = template.Populate
	}
	s, err := localpg.Start(context.Background(), opts)
	check(t, err)
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

func execute(t *testing.T, conninfo, sql string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), conninfo)
	check(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(context.Background(), sql)
	check(t, err)
}

func TestMonitorFollowsARealServer(t *testing.T) {
	ctx := context.Background()
	server := startServer(t, localpg.Options{})
	check(t, server.StopServer(ctx))

	p := newProcess(server.ConnInfo())
	start(t, p, prober{limit: answerLimit})
	p.expect(t, shmem.ServerUnreachable)
	if e := p.report(t); !strings.HasPrefix(e.Message, "waiting for the server: ") || e.Hint == "" {
		t.Errorf("before its start: got %+v", e)
	}

	check(t, server.Restart(ctx))
	first := p.await(t, shmem.ServerReadWrite)
	if age := time.Since(first.started); age < 0 || age > patience {
		t.Errorf("got start time %v", first.started)
	}

	check(t, server.Crash())
	p.expect(t, shmem.ServerUnreachable)
	check(t, server.Restart(ctx))
	if second := p.await(t, shmem.ServerReadWrite); !second.started.After(first.started) {
		t.Errorf("got start times %v and %v", first.started, second.started)
	}

	check(t, server.StopServer(ctx))
	p.await(t, shmem.ServerUnreachable)
}

func TestMonitorReportsACrashRestartWithTheSameStartTime(t *testing.T) {
	server := startServer(t, localpg.Options{})
	p := newProcess(server.ConnInfo())
	start(t, p, prober{limit: answerLimit})
	before := p.expect(t, shmem.ServerReadWrite)

	conn, err := pgx.Connect(context.Background(), server.ConnInfo())
	check(t, err)
	check(t, syscall.Kill(int(conn.PgConn().PID()), syscall.SIGKILL)) // the postmaster restarts all the others
	p.expect(t, shmem.ServerUnreachable)
	if after := p.await(t, shmem.ServerReadWrite); !after.started.Equal(before.started) {
		t.Errorf("got start times %v and %v", before.started, after.started)
	}
}

func TestMonitorNoticesAServerThatHangs(t *testing.T) {
	server := startServer(t, localpg.Options{})
	p := newProcess(server.ConnInfo())
	start(t, p, prober{limit: shortly * 5})
	p.expect(t, shmem.ServerReadWrite)
	// The postmaster first: then its children stay what they are, even those
	// that end meanwhile, because nobody reaps them.
	check(t, syscall.Kill(server.Pid(), syscall.SIGSTOP))
	pids := backends(t, server.Pid())
	for _, pid := range pids {
		check(t, syscall.Kill(pid, syscall.SIGSTOP))
	}
	defer func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}()
	p.SetLatch() // instead of waiting for the next look
	p.expect(t, shmem.ServerUnreachable)
	for p.report(t).Message != "lost connection to the server: timeout expired" {
	}
	for _, pid := range pids[1:] {
		check(t, syscall.Kill(pid, syscall.SIGCONT))
	}
	check(t, syscall.Kill(pids[0], syscall.SIGCONT)) // last: now it may reap them
	p.await(t, shmem.ServerReadWrite)
}

// backends returns the postmaster and its children.
func backends(t *testing.T, postmaster int) []int {
	t.Helper()
	pids := []int{postmaster}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(postmaster) + "/task/" + strconv.Itoa(postmaster) + "/children")
	check(t, err)
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		check(t, err)
		pids = append(pids, pid)
	}
	return pids
}

func TestMonitorNoticesAPromotion(t *testing.T) {
	source := startServer(t, localpg.Options{Settings: []string{"wal_level=replica", "max_wal_senders=4"}})
	backup := source.Binaries().Program("pg_basebackup")
	if backup == "" {
		t.Skip("no pg_basebackup")
	}
	server := startServer(t, localpg.Options{Populate: func(ctx context.Context, dir string) error {
		out, err := exec.CommandContext(ctx, backup, "-D", dir, "-d", source.ConnInfo(), "-c", "fast", "-R", "-X", "stream").CombinedOutput()
		t.Logf("%s", out)
		return err
	}})
	p := newProcess(server.ConnInfo())
	start(t, p, prober{limit: answerLimit})
	p.expect(t, shmem.ServerStandby)
	execute(t, server.ConnInfo(), "SELECT pg_promote()")
	p.expect(t, shmem.ServerReadWrite)
	for _, want := range []string{"server is accepting read-only connections", "server is accepting read-write connections"} {
		if e := p.report(t); e.Message != want {
			t.Errorf("got %q, want %q", e.Message, want)
		}
	}
}
