package queue

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host"
)

// limit bounds every wait of these tests. It only has to tell "late" from
// "never".
const limit = 90 * time.Second

// bench is what a test works with: a database with a queue, and a host whose
// workers serve it.
type bench struct {
	t        *testing.T
	conninfo string // of the database
	name     string // of the database
	dir      string // of the host
	tmp      string // for what handlers leave outside the database
	settings []string
	host     *exec.Cmd
	exited   chan struct{}

	mu  sync.Mutex
	log strings.Builder
}

var databases atomic.Int32

// newBench makes a database on the shared server and starts a host for it.
func newBench(t *testing.T, settings ...string) *bench {
	t.Helper()
	b := newBenchWithoutHost(t, settings...)
	b.start()
	return b
}

func newBenchWithoutHost(t *testing.T, settings ...string) *bench {
	t.Helper()
	return newBenchOn(t, server.ConnInfo(), fmt.Sprintf("bench%d", databases.Add(1)), settings...)
}

// newBenchOn makes a database on some server, with the tables of the tests.
func newBenchOn(t *testing.T, serverConninfo, name string, settings ...string) *bench {
	t.Helper()
	tmp, err := os.MkdirTemp("", "pgx-") // a short path: sockets need room
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	b := &bench{
		t: t, conninfo: serverConninfo, name: name, tmp: tmp, dir: filepath.Join(tmp, "host"),
		settings: append([]string{"shared_preload_libraries=queue", "queue.database=" + name, "log_min_messages=debug1"}, settings...),
	}
	b.exec("CREATE DATABASE " + name)
	b.conninfo += " dbname=" + name
	b.exec("CREATE TABLE effect (job bigint, at timestamptz DEFAULT clock_timestamp())")
	if err := host.Init(b.dir, serverConninfo); err != nil {
		t.Fatal(err)
	}
	return b
}

// start starts the host and waits until its workers have made the tables.
func (b *bench) start() {
	b.t.Helper()
	text, err := json.Marshal(host.Options{DataDir: b.dir, Settings: b.settings})
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), runHost+"="+string(text))
	r, w, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	_ = w.Close()
	exited, logged := make(chan struct{}), make(chan struct{})
	go func() { b.readLog(r); close(logged) }()
	go func() { _ = cmd.Wait(); close(exited) }()
	b.host, b.exited = cmd, exited
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
		<-logged // every child of the host is gone, too
		if b.t.Failed() {
			b.t.Logf("log of the host:\n%s", b.logText())
		}
	})
	b.eventually("the queue's tables", func() bool { return b.query("SELECT to_regclass('queue.status') IS NOT NULL") == "true" })
}

func (b *bench) readLog(r io.ReadCloser) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		b.mu.Lock()
		b.log.WriteString(lines.Text() + "\n")
		b.mu.Unlock()
	}
	_ = r.Close()
}

func (b *bench) logText() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// waitLog waits until the log matches, and returns the submatches.
func (b *bench) waitLog(pattern string) []string {
	b.t.Helper()
	var found []string
	re := regexp.MustCompile("(?m)" + pattern)
	b.eventually(pattern, func() bool { found = re.FindStringSubmatch(b.logText()); return found != nil })
	return found
}

// stop shuts the host down fast.
func (b *bench) stop() {
	b.t.Helper()
	_ = b.host.Process.Signal(unix.SIGINT)
	b.awaitExit()
	if code := b.host.ProcessState.ExitCode(); code != 0 {
		b.t.Errorf("the host has exited with code %d", code)
	}
}

func (b *bench) awaitExit() {
	b.t.Helper()
	select {
	case <-b.exited:
	case <-time.After(limit):
		b.t.Fatal("the host does not exit")
	}
}

// eventually polls until the condition holds.
func (b *bench) eventually(what string, condition func() bool) {
	b.t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// tryQuery returns the first column of the first row as text.
func (b *bench) tryQuery(sql string, args ...any) (value string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	config, err := pgx.ParseConfig(b.conninfo)
	if err != nil {
		return "", err
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	if rows.Next() {
		if values, err := rows.Values(); err == nil && len(values) > 0 {
			value = fmt.Sprint(values[0])
		}
	}
	rows.Close()
	return value, rows.Err()
}

func (b *bench) query(sql string, args ...any) string {
	b.t.Helper()
	value, err := b.tryQuery(sql, args...)
	if err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	_ = b.query(sql, args...)
}

// enqueue adds a job of a kind and returns its number. The handlers of the tests
// find the bench's directory in the payload.
func (b *bench) enqueue(kind string) string {
	b.t.Helper()
	return b.query("SELECT queue.enqueue($1, $2::jsonb)", kind, b.payload())
}

func (b *bench) payload() string {
	text, err := json.Marshal(map[string]string{"dir": b.tmp})
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// awaitEmpty waits until no job is left.
func (b *bench) awaitEmpty() {
	b.t.Helper()
	b.eventually("the end of all jobs", func() bool { n, err := b.tryQuery("SELECT count(*) FROM queue.job"); return err == nil && n == "0" })
}

// expect compares what a query returns.
func (b *bench) expect(want, sql string, args ...any) {
	b.t.Helper()
	if got := b.query(sql, args...); got != want {
		b.t.Errorf("%s: got %s, want %s", sql, got, want)
	}
}

// begun returns the processes that have begun a job, or with "" any job, from
// what the handlers have left outside the database.
func (b *bench) begun(job string) (pids []int) {
	for _, line := range b.beginnings() {
		id, pid, _ := strings.Cut(line, " ")
		if n, err := strconv.Atoi(pid); err == nil && (id == job || job == "") {
			pids = append(pids, n)
		}
	}
	return pids
}

// beginnings returns a line for each attempt that has begun: job and process.
func (b *bench) beginnings() []string {
	text, err := os.ReadFile(filepath.Join(b.tmp, "begun"))
	if err != nil || len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// awaitBegun waits until a job has begun n times and returns the last process.
func (b *bench) awaitBegun(job string, n int) int {
	b.t.Helper()
	var pids []int
	b.eventually("job "+job+" to begin", func() bool { pids = b.begun(job); return len(pids) >= n })
	return pids[len(pids)-1]
}

// letGo ends the waiting of the handlers "hold".
func (b *bench) letGo() {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.tmp, "go"), nil, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
