package launcher

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

// bench is what a test works with: a host, and databases that no other test's
// launcher sees, because their names begin with its prefix.
type bench struct {
	t      *testing.T
	prefix string
	dir    string
	host   *exec.Cmd

	mu  sync.Mutex
	log strings.Builder
}

var benches atomic.Int32

func newBench(t *testing.T) *bench {
	t.Helper()
	tmp, err := os.MkdirTemp("", "pgx-") // a short path: sockets need room
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	b := &bench{t: t, prefix: fmt.Sprintf("bench%d_", benches.Add(1)), dir: filepath.Join(tmp, "host")}
	if err := host.Init(b.dir, server.ConnInfo()); err != nil {
		t.Fatal(err)
	}
	return b
}

// start starts the host.
func (b *bench) start(settings ...string) {
	b.t.Helper()
	settings = append([]string{
		"shared_preload_libraries=analyzer", "max_worker_processes=20", "log_min_messages=debug1",
		"analyzer.naptime=100ms", "analyzer.include=" + b.prefix + "*",
	}, settings...)
	text, err := json.Marshal(host.Options{DataDir: b.dir, Settings: settings})
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
	b.host = cmd
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
		<-logged // every child of the host is gone, too
		if b.t.Failed() {
			b.t.Logf("log of the host:\n%s", b.logText())
		}
	})
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

// waitLog waits until n lines of the log match.
func (b *bench) waitLog(n int, pattern string) (last []string) {
	b.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	b.eventually(pattern, func() bool {
		found := re.FindAllStringSubmatch(b.logText(), -1)
		if len(found) < n {
			return false
		}
		last = found[len(found)-1]
		return true
	})
	return last
}

// countLog returns how many lines of the log match by now.
func (b *bench) countLog(pattern string) int {
	return len(regexp.MustCompile("(?m)"+pattern).FindAllString(b.logText(), -1))
}

// started is the log line of the start of a database's worker.
func (b *bench) started(name string) string {
	return `starting background worker process "analyzer of ` + b.prefix + name + `"$`
}

// ended is the log line of its end.
func (b *bench) ended(name string) string {
	return `unregistering background worker "analyzer of ` + b.prefix + name + `"$`
}

// awaitNextLaunch waits until the launcher has gone round again.
func (b *bench) awaitNextLaunch() {
	b.t.Helper()
	b.create("later")
	b.awaitConnected("later")
}

func (b *bench) signalHost(sig unix.Signal) {
	b.t.Helper()
	if err := b.host.Process.Signal(sig); err != nil {
		b.t.Fatal(err)
	}
}

// eventually polls until the condition holds.
func (b *bench) eventually(what string, condition func() bool) {
	b.t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// create creates a database, with the bench's prefix.
func (b *bench) create(name string) {
	b.t.Helper()
	b.exec("", "CREATE DATABASE "+pgx.Identifier{b.prefix + name}.Sanitize())
}

// exec runs a statement in a database, which is "" for the maintenance database.
func (b *bench) exec(database, sql string) {
	b.t.Helper()
	_ = b.query(database, sql)
}

// query returns the first column of the first row as text.
func (b *bench) query(database, sql string) (value string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn := b.connect(ctx, database)
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql, pgx.QueryExecModeExec)
	if err == nil {
		defer rows.Close()
		if rows.Next() {
			if values, err := rows.Values(); err == nil && len(values) > 0 {
				value = fmt.Sprint(values[0])
			}
		}
		rows.Close()
		err = rows.Err()
	}
	if err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func (b *bench) connect(ctx context.Context, database string) *pgx.Conn {
	b.t.Helper()
	config, err := pgx.ParseConfig(server.ConnInfo())
	if err != nil {
		b.t.Fatal(err)
	}
	if database != "" {
		config.Database = b.prefix + database
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		b.t.Fatal(err)
	}
	return conn
}

// connected returns how many analyzers are connected to a database.
func (b *bench) connected(name string) string {
	b.t.Helper()
	return b.query("", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'analyzer of %' AND datname = '"+b.prefix+name+"'")
}

func (b *bench) awaitConnected(names ...string) {
	b.t.Helper()
	for _, name := range names {
		b.eventually("an analyzer of "+name, func() bool { return b.connected(name) == "1" })
	}
}

// fieldsOf returns the words of files, as far as these can be read.
func fieldsOf(paths []string) (fields []string) {
	for _, path := range paths {
		text, _ := os.ReadFile(path)
		fields = append(fields, strings.Fields(string(text))...)
	}
	return fields
}

func isLauncher(title string) bool { return strings.Contains(title, "analyzer launcher") }
