//go:build linux

package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/localpg"
)

// requestKillRounds is the environment variable that has the whole table of
// kills tested, and says how many rounds of random ones there are.
const requestKillRounds = "PGEXTHOST_TEST_REQUEST_KILLS"

// fewKills is how much of the table is tested otherwise, besides what always is.
const fewKills = 8

// Whoever is killed while somebody stands at a step on the way of a request:
// each one that was committed starts exactly once, one that was rolled back
// never, and nothing is stuck.
func TestAKillAtAnyStepOfARequestLosesNoneAndDoublesNone(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	table := requestKills()
	if os.Getenv(requestKillRounds) == "" {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(table), func(i, j int) { table[i], table[j] = table[j], table[i] })
		first := firstKills()
		table = slices.DeleteFunc(table, func(k requestKill) bool { return slices.Contains(first, k) })
		table = append(first, table[:fewKills]...)
	}
	servers := newServerPool(t, len(table))
	var tests []testing.InternalTest
	for _, k := range table {
		tests = append(tests, testing.InternalTest{Name: k.String(), F: func(t *testing.T) { testRequestKills(t, servers, k) }})
	}
	runInLanes(t, tests)
}

// Two kills in one life, the nth time that any step is taken.
func TestKillsAtRandomStepsOfRequestsLoseNoneAndDoubleNone(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv(requestKillRounds))
	if err != nil {
		t.Skip("make torture runs it")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random, table := rand.New(rand.NewPCG(seed, 0)), requestKills()
	servers := newServerPool(t, rounds)
	var tests []testing.InternalTest
	for round := range rounds {
		pair := [2]requestKill{table[random.IntN(len(table))], table[random.IntN(len(table))]}
		for i := range pair {
			pair[i].nth = 1 + random.IntN(3)
		}
		pair[1].takeOver, pair[1].alone = pair[0].takeOver, pair[0].alone
		tests = append(tests, testing.InternalTest{Name: fmt.Sprint(round), F: func(t *testing.T) {
			t.Logf("%s; %s", pair[0], pair[1])
			testRequestKills(t, servers, pair[0], pair[1])
		}})
	}
	runInLanes(t, tests)
}

func testRequestKills(t *testing.T, servers serverPool, kills ...requestKill) {
	server := <-servers
	defer func() { servers <- server }()
	l := &requestLife{requests: newRequests(t, server), server: server, counters: shortTempDir(t), kills: kills}
	l.begin()
	l.goThrough()
	l.judge()
}

// serverPool has a server for each of the tests that run at a time, because they
// kill it.
type serverPool chan *localpg.Server

func newServerPool(t *testing.T, tests int) serverPool {
	t.Helper()
	needsOwnServer(t)
	servers := make(serverPool, lanes)
	var starting sync.WaitGroup
	for range min(lanes, tests) {
		starting.Go(func() { servers <- ownServer(t) })
	}
	starting.Wait()
	if len(servers) < min(lanes, tests) {
		t.FailNow()
	}
	return servers
}

// judge compares what the tables say with what the main functions have left.
func (l *requestLife) judge() {
	l.t.Helper()
	started := l.starts()
	outcome := make(map[string]string)
	for _, line := range strings.Fields(l.text(`SELECT string_agg(name || ':' || state || ':' || coalesce(sqlstate, ''), ' ' ORDER BY id) FROM pgexthost.requests`)) {
		name, state, _ := strings.Cut(line, ":")
		outcome[name] = state
	}
	if _, there := outcome["nobody"]; there || started[nobodyArg] != 0 {
		l.t.Errorf("what was rolled back is %q, and has started %d times", outcome["nobody"], started[nobodyArg])
	}
	l.judgeOnce(outcome["once"], started[onceArg])
	if l.kills[0].alone {
		return
	}
	l.judgeNeverRestarted("stay", stayArg, outcome["stay"], started[stayArg])
	ends := 0 // that a restarting worker may have had
	for _, k := range l.kills {
		if k.losesMemory() || k.victim == theWorkers || k.takeOver {
			ends++
		}
	}
	for name, arg := range map[string]int{"again": againArg, "declared": declaredArg} {
		if n := started[arg]; n < 1 || n > 1+ends || !strings.HasPrefix(outcome[name], "ended:") {
			l.t.Errorf("%s is %q, and has started %d times", name, outcome[name], n)
		}
	}
}

// judgeOnce judges the request that may have been cancelled. That came too late only
// if there was another kill, with another start before.
func (l *requestLife) judgeOnce(state string, started int) {
	l.t.Helper()
	cancelled := slices.ContainsFunc(l.kills, func(k requestKill) bool { return k.cancel && !slices.Contains(l.left, k) })
	most := len(l.kills) - 1
	switch {
	case !cancelled:
		l.judgeNeverRestarted("once", onceArg, state, started)
	case started > most || state != "cancelled:" && state != "ended:" && len(l.kills) == 1:
		l.t.Errorf("what was cancelled is %q, and has started %d times", state, started)
	}
}

// judgeNeverRestarted judges a request whose main must run exactly once. It may
// fail only if it, or what its host knows of it, was killed; and it may be missed
// only if it had gone through its gate, since the next moment counts as its main.
func (l *requestLife) judgeNeverRestarted(name string, arg int, state string, started int) {
	l.t.Helper()
	mayFail, mayMiss := false, false
	for _, k := range l.kills {
		mayFail = mayFail || k.losesMemory() || k.victim == theWorkers || k.takeOver
		mayMiss = mayMiss || mayFail && (k.of != name || !k.beforeMark())
	}
	if mayMiss && started == 0 {
		n, err := failpoint.Passed(l.counters, failpoint.GatePassed, name)
		mayMiss = err == nil && n > 0 && strings.HasPrefix(state, "failed:")
	}
	switch {
	case started > 1, started == 0 && !mayMiss:
		l.t.Errorf("%s (%d) is %q, and has started %d times", name, arg, state, started)
	case state != "ended:" && (!mayFail || !strings.HasPrefix(state, "failed:")):
		l.t.Errorf("%s is %q, and there was no reason for it", name, state)
	}
}
