//go:build linux

package integration

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/plugins"
)

// failure is a kill -9 at a failpoint.
type failure struct {
	at    failpoint.Point
	nth   int    // time that it is passed; 0 is the first
	of    string // the child that is there, or that the host is busy with
	child bool   // is killed, and not the host

	also   string // what happens before
	scope  string // crash_scope, if it is not auto
	reload bool   // there is a SIGHUP on the way, and then the reload of a library
	crash  bool   // there is a crash cycle on the way
	server bool   // the host has a server
}

// victim is who is killed.
func (f failure) victim() string {
	if f.child {
		return "child"
	}
	return "host"
}

// spec is what package failpoint is told.
func (f failure) spec() string {
	where := f.at.String()
	if f.of != "" {
		where += "/" + f.of
	}
	return fmt.Sprintf("%s=kill %s@%d", where, f.victim(), max(f.nth, 1))
}

func (f failure) String() string {
	text := fmt.Sprintf("%s, %d, %s, kill %s", f.at, max(f.nth, 1), f.of, f.victim())
	if f.scope != "" {
		text += ", scope " + f.scope
	}
	if f.reload {
		text += ", reload"
	}
	if f.crash {
		text += ", crash"
	}
	return text
}

// Whoever is killed, and wherever: nobody is left behind, every wait is answered,
// what is to be restarted runs again, every slot is free that should be, and the
// next start finds nothing in its way.
func TestAKillAtAnyPointLeavesNothingBehind(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	var tests []testing.InternalTest
	for _, f := range failures() {
		tests = append(tests, testing.InternalTest{Name: f.String(), F: f.test})
	}
	runInLanes(t, tests)
}

// lanes is how many hosts are killed at a time. They mostly wait, so there may be
// more of them than processors.
const lanes = 6

func runInLanes(t *testing.T, tests []testing.InternalTest) {
	withFailpoints(t, "") // the program is made now, so that no test waits for it
	next := make(chan testing.InternalTest)
	var running sync.WaitGroup
	defer running.Wait()
	for range lanes {
		running.Go(func() {
			for test := range next {
				t.Run(test.Name, test.F)
			}
		})
	}
	for _, test := range tests {
		next <- test
	}
	close(next)
}

func (f failure) test(t *testing.T) {
	counters := shortTempDir(t)
	l := begin(t, f.server, append(f.settings(), withFailpoints(t, counters, f.also, f.spec()))...)
	end := l.goThrough(f.reload, f.crash)
	if n, err := failpoint.Passed(counters, f.at, f.of); err != nil || n < max(f.nth, 1) {
		t.Fatalf("the point was passed %d times, %v", n, err)
	}
	l.expectNoComplaints()
	switch {
	case !f.child:
		if !wasKilled(end) {
			t.Errorf("the host was to be killed, but %v", end)
		}
	case f.of == "preload":
		if !end.Success() || l.count(leftOut) != 1 {
			t.Errorf("the host was to do without the library, but %v", end)
		}
	default:
		if !end.Success() {
			t.Errorf("the host was to live on, but %v", end)
		}
		l.expectTidy()
		return
	}
	l.startAgain(f.server)
}

// settings are those of the host.
func (f failure) settings() (options []hostOption) {
	if f.scope != "" {
		options = append(options, withSetting("crash_scope="+f.scope))
	}
	if f.crash {
		options = append(options, withSetting("crash_scope=cluster"))
	}
	return options
}

// startAgain checks that the next host finds nothing in its way.
func (l life) startAgain(server bool) {
	l.t.Helper()
	again := begin(l.t, server, inDir(l.dir))
	if end := again.goThrough(false, false); !end.Success() || again.count(`driver is done`) == 0 {
		l.t.Errorf("the next host: %v", end)
	}
	again.expectNoComplaints()
	again.expectTidy()
}

func wasKilled(end *os.ProcessState) bool {
	status, ok := end.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == unix.SIGKILL
}

// expectNoComplaints checks the log for what should never be there.
func (l life) expectNoComplaints() {
	l.t.Helper()
	if n := l.count(`driver gives up|^panic|goroutine \d+|data directory ".*" is still in use$|inconsistent background worker state`); n != 0 {
		l.t.Errorf("the log has %d complaints", n)
	}
}

// A point that no test kills anybody at may as well not be there.
func TestEveryFailpointIsTried(t *testing.T) {
	t.Parallel()
	tried := make(map[failpoint.Point]bool)
	for _, f := range failures() {
		tried[f.at] = true
	}
	for _, k := range requestKills() {
		tried[k.at] = true
	}
	names := make(map[string]bool)
	for _, p := range failpoint.All() {
		if !tried[p] {
			t.Errorf("nobody is killed at \"%s\"", p)
		}
		if p.String() == "" || names[p.String()] {
			t.Errorf("point %d has no name of its own, but %q", p, p)
		}
		names[p.String()] = true
	}
}

// To look around at a point: everything stands still there, and goes on later.
func TestAProcessCanBeStoppedAtAFailpoint(t *testing.T) {
	t.Parallel()
	l := begin(t, false, withFailpoints(t, shortTempDir(t), failpoint.ClaimInUse.String()+"/driver=stop"))
	pid := l.workerPid("driver")
	l.eventually("the driver to stop", func() bool { return processState(pid) == 'T' })
	segment := l.segment(pid)
	if holder := segment.SlotLockHolder(); holder != pid {
		t.Errorf("%d holds the slot lock", holder)
	}
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if end := l.goThrough(false, false); !end.Success() {
		t.Errorf("the host: %v", end)
	}
	l.expectNoComplaints()
}

func TestATypingErrorInFailpointsIsRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"claim: looked=stop":       `there is no failpoint "claim: looked"`,
		"claim: locked":            `failpoint "claim: locked" has no action`,
		"claim: locked=kill":       `failpoints have no action "kill"`,
		"claim: locked=stop@never": `failpoint "claim: locked=stop@never" has no valid number`,
	} {
		h := startHost(t, withFailpoints(t, shortTempDir(t), text), withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
		if code := h.awaitExit(); code != 98 || h.count("^pgexthost: "+want+"$") != 1 {
			t.Errorf("%s: exit code %d, log %q", text, code, h.logLines())
		}
	}
}
