//go:build linux

package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
)

// randomKills is the environment variable that says how many rounds of random
// kills there are.
const randomKills = "PGEXTHOST_TEST_RANDOM_KILLS"

// Two kills at once, at any two points and the nth time that they are passed, in
// a host that may be reloading, crashing, or both.
func TestKillsAtRandomPointsLeaveNothingBehind(t *testing.T) {
	var rounds int
	if _, err := fmt.Sscan(os.Getenv(randomKills), &rounds); err != nil {
		t.Skip("make torture runs it")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random, table := rand.New(rand.NewPCG(seed, 0)), failures()
	var tests []testing.InternalTest
	for round := range rounds {
		pair := [2]failure{table[random.IntN(len(table))], table[random.IntN(len(table))]}
		for i := range pair {
			pair[i].nth = 1 + random.IntN(4)
		}
		pair[0].scope = []string{"auto", "worker", "cluster"}[random.IntN(3)]
		pair[0].reload, pair[0].crash = random.IntN(4) == 0, random.IntN(4) == 0
		tests = append(tests, testing.InternalTest{Name: fmt.Sprint(round), F: func(t *testing.T) { testPair(t, pair[0], pair[1]) }})
	}
	runInLanes(t, tests)
}

func testPair(t *testing.T, a, b failure) {
	t.Logf("%s; %s", a, b)
	a.server = a.server || b.server
	l := begin(t, a.server, append(a.settings(), withFailpoints(t, shortTempDir(t), a.spec(), b.spec()))...)
	end := l.goThrough(a.reload, a.crash)
	l.expectNoComplaints()
	switch {
	case end.Success():
		l.expectTidy()
		return
	case wasKilled(end) && (!a.child || !b.child):
	case end.ExitCode() == 1 && l.count(`LOG:  abnormal database system shutdown$`) == 1: // a crash cycle had begun
		l.expectTidy()
	default:
		t.Errorf("the host: %v", end)
	}
	l.startAgain(a.server)
}
