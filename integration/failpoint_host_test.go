//go:build linux

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/plugins"
)

// failpointProgram is these tests once more, built with failpoints. It is made
// when it is needed for the first time; the go command keeps the parts.
var failpointProgram struct {
	sync.Once
	dir string
	err error
}

// withFailpoints runs a host, and its children, with failpoints: what they do is
// told by specs, and what they have passed is counted in dir.
func withFailpoints(t testing.TB, dir string, specs ...string) hostOption {
	t.Helper()
	p := &failpointProgram
	p.Do(func() {
		if p.dir, p.err = os.MkdirTemp("", "pgx-"); p.err != nil {
			return
		}
		// Without the race detector, always: these tests are about what the dead
		// leave behind, and start more processes than all others together.
		args := []string{"test", "-c", "-tags", "failpoints", "-o", filepath.Join(p.dir, "program")}
		if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
			p.err = fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return func(c *hostConfig) {
		c.program = filepath.Join(p.dir, "program")
		c.env = append(c.env, failpoint.Variable+"="+strings.Join(specs, ";"), failpoint.Dir+"="+dir)
	}
}

func removeFailpointProgram() {
	if dir := failpointProgram.dir; dir != "" {
		_ = os.RemoveAll(dir)
	}
}

// life is what a host goes through so that all failpoints are passed. At each
// step it may find its host gone.
type life struct {
	*testHost
	workers []string // that run when nothing happens, sorted
}

// begin starts the host. It has one slot that is not taken.
func begin(t testing.TB, server bool, options ...hostOption) life {
	t.Helper()
	l := life{workers: []string{"driver", "steady"}}
	workers := []plugins.BackgroundWorker{
		{Name: "steady", FunctionName: "wait"}, {Name: "driver", LibraryName: "failpoints", FunctionName: "driver"},
	}
	if server {
		workers = append(workers, plugins.BackgroundWorker{
			Name: "client", FunctionName: "connect", Flags: plugins.BackendDatabaseConnection, StartTime: plugins.StartAtRecoveryFinished})
		l.workers = []string{"client", "driver", "steady"}
		options = append(options, withServer(sharedServer(t).ConnInfo()))
	}
	options = append(options, withWorkers(workers...), withSetting(fmt.Sprint("max_worker_processes=", len(workers)+1)), withSetting("max_parallel_workers=1"))
	l.testHost = startHost(t, options...)
	return l
}

// await waits for n lines that match, or for the end of the host and its
// children; then it returns false.
func (l life) await(pattern string, n int) bool {
	l.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(limit)
	for {
		l.mu.Lock()
		found := 0
		for _, line := range l.lines {
			if re.MatchString(line) {
				found++
			}
		}
		news, ended := l.news, l.ended
		l.mu.Unlock()
		if found >= n || ended {
			return found >= n
		}
		select {
		case <-news:
		case <-deadline:
			l.t.Fatalf("timed out with %d of %d lines that match %q", found, n, pattern)
		}
	}
}

const (
	driverEnds = `LOG:  driver (is done|gives up)`
	leftOut    = `WARNING:  library "faults" was not preloaded: preload process \(PID \d+\) was terminated by signal 9`
)

// settle waits until the driver is done for the nth time, and then for all that
// must run to run, and no other slot to be taken. It returns the pids, or nil if
// the host is gone.
func (l life) settle(nth int) map[string]int {
	l.t.Helper()
	if l.await(driverEnds+"|"+leftOut, nth) && l.count(leftOut) > 0 {
		return nil // there are no workers
	}
	if !l.await(driverEnds, nth) || slices.Contains(l.workers, "client") && !l.await(`LOG:  client is connected`, 1) {
		return nil
	}
	deadline := time.After(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		rows, err := l.rows()
		pids, names := make(map[string]int), []string(nil)
		for _, r := range rows {
			names = append(names, r.Name)
			if r.State == "running" {
				pids[r.Name] = r.Pid
			}
		}
		slices.Sort(names)
		if err == nil && slices.Equal(names, l.workers) && len(pids) == len(l.workers) {
			return pids
		}
		select {
		case <-tick.C:
		case <-l.exited:
			return nil
		case <-deadline:
			l.t.Fatalf("ps never was as it should be; now it is %+v, %v", rows, err)
		}
	}
}

// rows asks the host for its workers.
func (l life) rows() ([]control.Worker, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := control.Dial(ctx, l.dir)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	response, err := client.Do(ctx, control.Request{Op: control.OpPs})
	return response.Workers, err
}

// goThrough lives the life to its end, with a reload of the files and of a library,
// or the crash of a worker on the way, and returns how the host has ended.
func (l life) goThrough(reload, crash bool) *os.ProcessState {
	l.t.Helper()
	pids := l.settle(1)
	if pids != nil && reload {
		l.tell(unix.SIGHUP)
		l.await(`LOG:  received SIGHUP`, 1)
		// One without workers, which would be more than "steady" and "driver".
		_, _ = l.reload(l.t.Context(), "worker_spi", limit)
	}
	if pids != nil && crash {
		done := l.count(driverEnds)
		_ = unix.Kill(pids["steady"], unix.SIGKILL)
		if l.await(reinitializing, 1) {
			l.settle(done + 1)
		}
	}
	l.tell(unix.SIGINT)
	select {
	case <-l.exited:
	case <-time.After(limit):
		l.t.Fatal("the host does not exit")
	}
	l.expectNobody()
	return l.cmd.ProcessState
}

// tell sends a signal to a host that may be gone.
func (l life) tell(sig unix.Signal) { _ = l.cmd.Process.Signal(sig) }

// orphansLimit is how long children may outlive their host: a second, and some
// more on a busy machine.
const orphansLimit = 10 * time.Second

// expectNobody checks that all processes of a host that has ended are gone: those
// that write to its log, and those that work in its directory.
func (l life) expectNobody() {
	l.t.Helper()
	begin := time.Now()
	l.awaitLogEnd()
	l.eventually("nobody to work in the data directory", func() bool { return len(processesIn(l.dir)) == 0 })
	if took := time.Since(begin); took > orphansLimit {
		l.t.Errorf("the host's children have outlived it by %v", took)
	}
}

// processesIn returns the processes whose working directory it is, as that of
// all children of a host is.
func processesIn(dir string) []string {
	dir, _ = filepath.EvalSymlinks(dir)
	links, _ := filepath.Glob("/proc/[1-9]*/cwd")
	return slices.DeleteFunc(links, func(link string) bool {
		target, err := os.Readlink(link)
		return err != nil || target != dir
	})
}

// expectTidy checks that a host that has ended in order has left nothing but
// what it should.
func (l life) expectTidy() {
	l.t.Helper()
	var left []string
	entries, err := os.ReadDir(l.dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if err != nil || !slices.Equal(left, []string{"pgexthost.conf", "postmaster.opts"}) {
		l.t.Errorf("left in the data directory: %q, %v", left, err)
	}
}
