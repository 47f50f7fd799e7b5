package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect/servermonitor"
	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/plugins"
)

// asHost makes the test binary a host with the library compiled in; its value is
// the host's directory.
const asHost = "RETENTION_AS_HOST"

func beHost() {
	s := settings{before: dieNow}
	plugins.Register(s.library())
	servermonitor.Register()
	if plugins.IsChild() {
		plugins.RunChild()
	}
	os.Exit(host.Run(context.Background(), host.Options{
		DataDir:  os.Getenv(asHost),
		Settings: append([]string{"shared_preload_libraries=retention"}, os.Args[1:]...),
	}))
}

// killFile, in the host's directory, holds the number of the statement before
// which the next worker kills itself, and lastKill the last such number.
const (
	killFile = "kill-before"
	lastKill = 40
)

var reached int

func dieNow(string) error {
	reached++
	text, err := os.ReadFile(killFile)
	if err != nil {
		return nil
	}
	if n, _ := strconv.Atoi(string(text)); n == reached && n <= lastKill {
		if err := os.WriteFile(killFile, []byte(strconv.Itoa(n+1)), 0o600); err != nil {
			return err
		}
		return unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	return nil
}

// runningHost is a host with a directory of its own.
type runningHost struct {
	*testing.T
	dir string
	cmd *exec.Cmd

	mu    sync.Mutex
	lines strings.Builder
	ended chan struct{} // closed when the log is
}

func newHostDir(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "rt") // t.TempDir is too long for a socket
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	dir := filepath.Join(parent, "h")
	check(t, host.Init(dir, server.ConnInfo()))
	return dir
}

func (d *database) startHost(dir string, settings ...string) *runningHost {
	d.Helper()
	h := &runningHost{T: d.T, dir: dir, ended: make(chan struct{})}
	h.cmd = exec.Command(os.Args[0], append([]string{"retention.database=" + d.name, "retention.naptime=1s"}, settings...)...)
	h.cmd.Env = append(os.Environ(), asHost+"="+dir)
	log, err := h.cmd.StderrPipe()
	check(d, err)
	check(d, h.cmd.Start())
	go func() {
		defer close(h.ended)
		for s := bufio.NewScanner(log); s.Scan(); {
			h.mu.Lock()
			h.lines.WriteString(s.Text() + "\n")
			h.mu.Unlock()
		}
	}()
	d.Cleanup(func() { h.end(unix.SIGKILL) })
	return h
}

func (h *runningHost) log() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lines.String()
}

// end ends the host by a signal. It returns nil after a clean shutdown.
func (h *runningHost) end(sig unix.Signal) error {
	_ = h.cmd.Process.Signal(sig)
	<-h.ended // the workers have it, too
	return h.cmd.Wait()
}

func (d *database) awaitLog(h *runningHost, text string) {
	d.Helper()
	defer func() {
		if d.Failed() {
			d.Log(h.log())
		}
	}()
	d.await(fmt.Sprintf("%q in the log", text), func() bool { return strings.Contains(h.log(), text) })
}

// daily makes a table with the partitions of the last days.
func daily(d *database, days int) {
	d.exec(strings.ReplaceAll(`SET TimeZone = 'UTC'; CREATE TABLE p (at timestamptz NOT NULL) PARTITION BY RANGE (at);
		DO $$ BEGIN FOR day IN 1..DAYS LOOP EXECUTE format('CREATE TABLE %I PARTITION OF p FOR VALUES FROM (%L) TO (%L)',
			to_char(current_date - day, '"p_p"YYYY_MM_DD'), current_date - day, current_date - day + 1); END LOOP; END $$;
		INSERT INTO p SELECT generate_series(current_date - DAYS, current_date - 1, interval '1 day')`, "DAYS", strconv.Itoa(days)))
}

// wellKept says whether the days of a policy that keeps two and has three ahead
// are there, and no others. It may take a round.
const wellKept = `SELECT 'yes' WHERE
	(SELECT array_agg(c.relname::text ORDER BY c.relname) FROM pg_class c WHERE c.relname LIKE 'p\_p%' AND relkind = 'r')
	= (SELECT array_agg(to_char(current_date + n, '"p_p"YYYY_MM_DD') ORDER BY n) FROM generate_series(-2, 3) n)
	AND NOT EXISTS (SELECT FROM retention.retiring)`

const dailyPolicy = "every => '1 day', premake => 3, keep => '2 days', on_expiry => 'drop'"

func TestAWorkerThatIsKilledFortyTimesDoesItsWork(t *testing.T) {
	d := newDatabase(t)
	daily(d, 100)                         // more than it gets done between the kills
	d.leader("").conn.HangUp(t.Context()) // for the schema
	d.policy("p", dailyPolicy)
	dir := newHostDir(t)
	check(t, os.WriteFile(filepath.Join(dir, killFile), []byte("1"), 0o600))
	h := d.startHost(dir, "retention.batch=1")
	d.await("forty kills", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, killFile))
		return err == nil && string(text) == strconv.Itoa(lastKill+1)
	})
	d.want("1", "SELECT least(count(*), 1)::text FROM pg_inherits, retention.policy WHERE inhparent = parent AND inhrelid::regclass::text < to_char(current_date - 2, '\"p_p\"YYYY_MM_DD')")
	d.await("the work to be done", func() bool { return d.text(wellKept) == "yes" })
	if err := h.end(unix.SIGINT); err != nil {
		t.Errorf("%v; log:\n%s", err, h.log())
	}
	if n := strings.Count(h.log(), "was terminated by signal 9"); n != lastKill {
		t.Errorf("%d workers were killed", n)
	}
	d.want("yes", "SELECT 'yes' WHERE (SELECT array_agg(p.at) FROM p) = (SELECT array_agg(at) FROM p WHERE at >= current_date - 2)")
}

func TestOfTwoHostsOneWorksAndTheOtherTakesOver(t *testing.T) {
	d := newDatabase(t)
	daily(d, 10)
	first := d.startHost(newHostDir(t))
	d.awaitLog(first, "retention: looking after the tables of database")
	second := d.startHost(newHostDir(t))
	d.await("the second to stand by", func() bool {
		return d.text("SELECT 'yes' FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'retention %' AND query LIKE '%pg_try_advisory_lock%'", d.name) != ""
	})
	d.policy("p", dailyPolicy)
	d.await("the work to be done", func() bool { return d.text(wellKept) == "yes" })
	if strings.Contains(second.log(), "looking after") {
		t.Error("both work")
	}
	_ = first.end(unix.SIGKILL)
	d.awaitLog(second, "retention: looking after the tables of database")
	d.exec("CREATE TABLE q (at date NOT NULL) PARTITION BY RANGE (at)")
	d.policy("q", "every => '1 day', premake => 0")
	d.await("the work to be done", func() bool { return strings.Contains(d.partitions("q"), "q_p") })
	if err := second.end(unix.SIGINT); err != nil {
		t.Errorf("%v; log:\n%s", err, second.log())
	}
}

func TestAReloadChangesSettings(t *testing.T) {
	d := newDatabase(t)
	daily(d, 10)
	dir := newHostDir(t)
	conf := filepath.Join(dir, "pgexthost.conf")
	text, err := os.ReadFile(conf)
	check(t, err)
	check(t, os.WriteFile(conf, append(text, "\nretention.dry_run = on\n"...), 0o600))
	h := d.startHost(dir)
	d.awaitLog(h, "retention: looking after the tables of database")
	d.policy("p", dailyPolicy)
	d.awaitLog(h, "retention: dry run: would retire partition")
	d.want("10", "SELECT count(*)::text FROM pg_inherits WHERE inhparent = 'p'::regclass")
	check(t, os.WriteFile(conf, append(text, "\nretention.dry_run = off\n"...), 0o600))
	check(t, h.cmd.Process.Signal(unix.SIGHUP))
	d.await("the work to be done", func() bool { return d.text(wellKept) == "yes" })
	if err := h.end(unix.SIGINT); err != nil {
		t.Errorf("%v; log:\n%s", err, h.log())
	}
}
