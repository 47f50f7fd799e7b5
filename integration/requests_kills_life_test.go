//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/localpg"
)

// The requests of a life, by their names and main arguments.
const (
	onceArg     = 1 + iota // "once" ends by itself, and never restarts
	nobodyArg              // was rolled back
	againArg               // "again" ends by itself, and would restart
	stayArg                // "stay" runs until it is terminated, and never restarts
	declaredArg            // "declared" runs while its row is there, and restarts
)

// requestLife is what a host with failpoints does for one database, and what
// befalls it.
type requestLife struct {
	*requests
	server   *localpg.Server
	counters string        // of the failpoints
	kills    []requestKill // all, and those
	left     []requestKill // that are still to come, in their order
	host     *testHost     // with failpoints
	first    *testHost     // from which that takes over; nil: from none
	back     bool          // it is there again

	asked, dropped bool // for the end of stay, for that of declared
}

const launchStay = `SELECT pgexthost.launch('effects', 'stay', 'stay', main_arg => 4);`

const launchOnce = `
	BEGIN; SELECT pgexthost.launch('effects', 'once', 'nobody', main_arg => 2); ROLLBACK;
	BEGIN; SAVEPOINT s; SELECT pgexthost.launch('effects', 'once', 'nobody', main_arg => 2); ROLLBACK TO s;
		SELECT pgexthost.launch('effects', 'once', 'once', main_arg => 1); COMMIT;`

const launchOthers = `
	SELECT pgexthost.launch('effects', 'once', 'again', main_arg => 3, restart_time => 0);
	INSERT INTO pgexthost.worker (name, library, function, main_arg, restart_time) VALUES ('declared', 'effects', 'stay', 5, 0);`

// begin makes the requests, and starts the host that finds them. All kills must
// agree on whether it takes over, and on whether there are others than "once".
func (l *requestLife) begin() {
	l.t.Helper()
	l.left = l.kills
	if !l.kills[0].takeOver {
		if !l.kills[0].alone {
			l.exec(launchStay + launchOthers)
		}
		l.exec(launchOnce)
		l.start()
		return
	}
	l.first = l.requests.host(withFailpoints(l.t, ""))
	l.exec(launchStay)
	l.first.eventually("the first host's worker", func() bool { return l.starts()[stayArg] == 1 })
	l.start()
	l.host.eventually("the other to wait", func() bool { // or to stand still before that
		return l.host.count("another host serves it") > 0 || l.standsStill() != 0
	})
	its := l.first.launcherPid()
	l.first.freeze(its) // or it would do what is left to the other
	l.exec(launchOnce)
	l.exec(launchOthers)
	l.first.signal(unix.SIGKILL)
	l.first.kill(its)
	l.first.awaitExit()
}

// comeBack starts the first host again, once the other has taken over or somebody
// was killed there: it looks after what it has started.
func (l *requestLife) comeBack() {
	if l.first == nil || l.back || len(l.left) == len(l.kills) && l.host.count("fulfilling the requests") == 0 {
		return
	}
	l.back = true
	l.first = l.requests.host(inDir(l.first.dir), withFailpoints(l.t, ""))
}

// start starts the host, the next time where the one before has been.
func (l *requestLife) start() {
	l.t.Helper()
	specs := []string{failpoint.GatePassed.String() + "/once=count", failpoint.GatePassed.String() + "/stay=count"}
	for _, k := range l.kills {
		specs = append(specs, k.spec())
	}
	options := []hostOption{withFailpoints(l.t, l.counters, specs...)}
	if l.host != nil {
		options = append(options, inDir(l.host.dir))
	}
	l.host = l.requests.host(options...)
	l.t.Cleanup(l.endStopped)
}

// endStopped kills what stands still after a test that has failed: nothing else
// would end it.
func (l *requestLife) endStopped() {
	if l.host.cmd.Process.Signal(unix.SIGSTOP) != nil { // so that nobody comes after these
		return
	}
	children, _ := childrenOf(l.host.pid())
	for _, pid := range children {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// goThrough kills whoever is to be killed, and otherwise sees to it that all
// requests come to their ends.
func (l *requestLife) goThrough() {
	l.t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for done := false; !done; {
		if pid := l.standsStill(); pid != 0 {
			l.strike(pid)
			continue
		}
		l.comeBack()
		states, err := l.states()
		done = err == nil && l.goOn(states) && (len(l.kills) > 1 || len(l.left) == 0)
		if time.Now().After(deadline) {
			l.t.Fatalf("stuck with %v, %v; started %v; to come: %v", states, err, l.starts(), l.left)
		}
		<-tick.C
	}
	l.finish()
}

// standsStill returns which child of the host has stopped at a failpoint, or 0.
func (l *requestLife) standsStill() int {
	children, err := childrenOf(l.host.pid())
	if err != nil {
		return 0 // on their way out
	}
	for _, pid := range children {
		if processState(pid) == 'T' {
			return pid
		}
	}
	return 0
}

// strike kills the next victim, and lets the process go on if that was another.
func (l *requestLife) strike(stopped int) {
	l.t.Helper()
	k := l.next()
	if k.cancel {
		l.insist(l.conninfo(), "SELECT pgexthost.terminate('once')")
	}
	if k.inCommit {
		l.holdCommit(stopped)
		defer l.letCommit()
	}
	switch k.victim {
	case theLauncher:
		l.kill(l.host.launcherPid())
	case theWorkers:
		for _, pid := range l.workers() {
			l.kill(pid)
		}
	case theServer:
		if err := l.server.Crash(); err != nil {
			l.t.Fatal(err)
		}
	case theBackend:
		pids := l.backends()
		if len(pids) == 0 && len(l.kills) == 1 {
			l.t.Error("the launcher has no session")
		}
		for _, pid := range pids {
			l.kill(pid)
		}
	case theHost, everybody:
		l.killHost(k.victim == everybody)
	}
	_ = unix.Kill(stopped, unix.SIGCONT)
	switch k.victim {
	case theHost, everybody:
		l.start()
	case theServer:
		ctx, cancel := context.WithTimeout(l.t.Context(), limit)
		defer cancel()
		if err := l.server.Restart(ctx); err != nil {
			l.t.Fatal(err)
		}
	case theLauncher, theWorkers, theBackend:
	}
}

// killHost returns when all of its processes are gone. Those that outlive it go on,
// even if they come to another failpoint.
func (l *requestLife) killHost(children bool) {
	l.t.Helper()
	pids, _ := childrenOf(l.host.pid())
	l.host.signal(unix.SIGKILL)
	<-l.host.exited
	l.host.eventually("the end of the host's children", func() bool {
		for _, pid := range pids {
			switch {
			case children:
				_ = unix.Kill(pid, unix.SIGKILL)
			case processState(pid) == 'T':
				_ = unix.Kill(pid, unix.SIGCONT)
			}
		}
		return !slices.ContainsFunc(pids, func(pid int) bool { return !isGone(pid) })
	})
	l.host.awaitExit()
}

// next returns which kill is due, and strikes it off.
func (l *requestLife) next() requestKill {
	l.t.Helper()
	i := slices.IndexFunc(l.left, func(k requestKill) bool {
		n, err := failpoint.Passed(l.counters, k.at, k.of)
		return err == nil && n >= max(k.nth, 1)
	})
	if i < 0 {
		l.t.Fatalf("a process stands still, and nobody knows why; to come: %v", l.left)
	}
	k := l.left[i]
	l.left = slices.Concat(l.left[:i], l.left[i+1:])
	return k
}

// kill returns when the process is dead.
func (l *requestLife) kill(pid int) {
	l.t.Helper()
	l.host.kill(pid)
	l.host.eventually("the death of a process", func() bool { return isGone(pid) })
}

// workers are the children of the host that requests have asked for.
func (l *requestLife) workers() (pids []int) {
	l.t.Helper()
	for _, pid := range l.host.children() {
		_, name, _ := strings.Cut(processTitle(pid), ": ")
		switch name {
		case "once", "again", "stay", "declared":
			pids = append(pids, pid)
		}
	}
	return pids
}

// backends are the launchers' sessions with the database.
func (l *requestLife) backends() (pids []int) {
	l.t.Helper()
	text := l.insist(l.conninfo(), "SELECT string_agg(pid::text, ' ') "+launcherSessions+"current_database()")
	for _, field := range strings.Fields(text) {
		pid := 0
		if _, err := fmt.Sscan(field, &pid); err != nil {
			l.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// states are those of the requests by name, of several the last one.
func (l *requestLife) states() (map[string]string, error) {
	text, err := l.try(`SELECT coalesce(string_agg(name || ' ' || state, ',' ORDER BY id), '') FROM pgexthost.requests`)
	states := make(map[string]string)
	for one := range strings.SplitSeq(text, ",") {
		name, state, _ := strings.Cut(one, " ")
		states[name] = state
	}
	return states, err
}

func isLive(state string) bool { return state == "pending" || state == "started" }

// goOn does what a person would do next, and reports whether nothing is left to do.
func (l *requestLife) goOn(states map[string]string) (done bool) {
	if l.kills[0].alone {
		return !isLive(states["once"])
	}
	started := l.starts()
	if !l.asked && (started[stayArg] > 0 || !isLive(states["stay"])) {
		_, err := l.try("SELECT pgexthost.terminate('stay')::text")
		l.asked = err == nil
	}
	if isLive(states["once"]) || isLive(states["again"]) || isLive(states["stay"]) {
		return false
	}
	if !l.dropped && states["declared"] == "started" && l.declaredRuns() {
		_, err := l.try("WITH gone AS (DELETE FROM pgexthost.worker RETURNING name) SELECT count(*)::text FROM gone")
		l.dropped = err == nil
	}
	return l.dropped && !isLive(states["declared"])
}

// declaredRuns reports whether the process that the table names is there, and the
// only one.
func (l *requestLife) declaredRuns() bool {
	pid, err := l.try("SELECT coalesce(string_agg(pid::text, ','), '') FROM pgexthost.requests WHERE name = 'declared' AND state = 'started'")
	if err != nil || l.starts()[declaredArg] == 0 {
		return false
	}
	number := 0
	_, err = fmt.Sscan(pid, &number)
	return err == nil && strings.HasSuffix(processTitle(number), ": declared")
}

// finish sees that the hosts are idle, and ends them.
func (l *requestLife) finish() {
	l.t.Helper()
	for _, h := range []*testHost{l.first, l.host} {
		if h == nil {
			continue
		}
		h.eventually("all slots to be free", func() bool {
			l.wakeUp()
			rows, err := life{testHost: h}.rows()
			return err == nil && len(rows) == 0
		})
		h.signal(unix.SIGINT)
		h.eventually("its end", func() bool {
			l.wakeUp()
			select {
			case <-h.exited:
				return true
			default:
				return false
			}
		})
		if code := h.awaitExit(); code != 0 {
			l.t.Errorf("the host exited with code %d", code)
		}
		life{testHost: h}.expectNoComplaints()
	}
}

// wakeUp lets a process go on that has come to a failpoint when all was done.
func (l *requestLife) wakeUp() {
	if pid := l.standsStill(); pid != 0 {
		if err := unix.Kill(pid, unix.SIGCONT); err != nil && !errors.Is(err, unix.ESRCH) {
			l.t.Error(err)
		}
	}
}
