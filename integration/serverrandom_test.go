//go:build linux

package integration

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/fakeserver"
	"github.com/pgexthost/pgexthost/plugins"
)

// A server that is ill in one way after the other, and healthy now and then.
// The host lives on, no worker starts before its time, each starts once for
// each server that takes writes, and the shutdown is clean at any point.
func TestAHostSurvivesAnySequenceOfServers(t *testing.T) {
	t.Parallel()
	for range 2 {
		seed := rand.Uint64()
		t.Run("", func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %#x", seed)
			testRandomServers(t, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

// hangsLong tells the servers that let the monitor in and then say nothing: each
// look at them takes 10 seconds. The monitor's own random test has them.
func hangsLong(name string) bool {
	return strings.HasPrefix(name, "hangs ") && name != "hangs in a header" && name != "hangs in authentication"
}

func testRandomServers(t *testing.T, r *rand.Rand) {
	var names []string
	for name := range fakeserver.Oddities {
		if !hangsLong(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names) // the seed alone decides
	server := fakeserver.NewPostgres(true)
	fake := fakeserver.Start(t, fakeserver.Oddities["closes"])
	h := startHost(t, withServer(fakeConninfo(fake)), withWorkers(
		sessionWorker("worker"), plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait"},
	))
	h.waitLog(`LOG:  bystander waits$`)
	starts, healthy := 0, false
	for range 15 {
		if healthy = r.IntN(4) == 0; healthy {
			starts++
			server.Restart(r.IntN(2) == 0)
			fake.Play(server.Serve)
			fake.Disconnect()
			h.look()
			server.Promote()
			h.waitLogCount(`LOG:  worker sleeps in the server$`, starts)
		} else {
			name := names[r.IntN(len(names))]
			t.Log(name)
			fake.Play(fakeserver.Oddities[name])
			fake.Disconnect()
			for range 2 { // the first may have begun before
				seen := fake.Connections()
				h.look()
				h.eventually("a look at the server", func() bool { return fake.Connections() > seen })
			}
		}
		if n := h.count(`starting background worker process "worker"$`); n != starts {
			t.Fatalf("the worker was started %d times, want %d", n, starts)
		}
	}
	begin := time.Now()
	h.stop()
	if took := time.Since(begin); took > fast {
		t.Errorf("the shutdown took %v", took)
	}
	if n := h.count(`starting background worker process "bystander"$`); n != 1 {
		t.Errorf("the bystander was started %d times", n)
	}
	if n := h.count(`LOG:  server monitor process|panic|was terminated by signal`); n != 0 {
		t.Errorf("%d signs of a crash", n)
	}
}
