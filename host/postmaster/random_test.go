package postmaster_test

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// chaos drives a machine at random. The world checks every command; chaos
// checks what takes knowledge of who waits for whom.
type chaos struct {
	*rig
	rnd     *rand.Rand
	waiters map[int]int // by slot: the live child that waits for its worker
}

// Whatever happens, the invariants of doc.go hold, and a shutdown comes to its
// end.
func TestInvariantsHoldAtRandom(t *testing.T) {
	for seed := range int64(300) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewSource(seed))
			static := workers(named("0", database), named("1", restart(never)), named("2", database, restart(never)), named("3", restart(0)))
			c := &chaos{rig: bareRig(t, static, "server monitor", "gateway"), rnd: rnd, waiters: map[int]int{}}
			c.do(postmaster.Started{})
			for range 400 {
				c.act()
			}
			c.end()
		})
	}
}

func (c *chaos) act() {
	c.t.Helper()
	switch n := c.rnd.Intn(20); {
	case n < 4:
		c.claim()
	case n < 6:
		c.slots.slot[c.rnd.Intn(c.slots.Len())].terminate = true
		c.do(postmaster.SlotsChanged{})
	case n < 10:
		c.exitSome()
	case n < 15:
		c.answer()
	case n < 17:
		started := []time.Time{{}, serverA, serverB}[c.rnd.Intn(3)]
		c.do(postmaster.ServerStateChanged{State: shmem.ServerState(c.rnd.Intn(5)), Started: started})
	case n == 18:
		for pid := range c.pids {
			c.clients[pid+1] = max(c.rnd.Intn(5)-2, 0)
		}
		c.do(postmaster.SessionsEnded{})
	case n == 17:
		c.do(postmaster.ReloadRequested{})
		c.do(postmaster.Configured{
			WorkerStopTimeout: time.Duration(c.rnd.Intn(3)) * 10 * time.Second, CrashScope: postmaster.CrashScope(c.rnd.Intn(3)),
			RestartAfterCrash: c.rnd.Intn(50) > 0,
		})
	default:
		c.now = c.now.Add(time.Duration(c.rnd.Int63n(int64(3 * time.Second))))
		c.do(postmaster.Tick{})
	}
}

// do makes a step and checks what follows from it.
func (c *chaos) do(ev postmaster.Event) {
	c.t.Helper()
	before := slices.Clone(c.slots.slot)
	c.trace = nil
	c.step(ev)
	for slot, pid := range c.waiters {
		if !c.world.alive(pid) {
			delete(c.waiters, slot)
			continue
		}
		now := c.slots.slot[slot]
		if (now.pid != before[slot].pid || !now.inUse) && !slices.Contains(c.trace, fmt.Sprint("notify ", pid)) {
			c.t.Fatalf("%d was not told that slot %d changed:\n%q", pid, slot, c.trace)
		}
		if !now.inUse {
			delete(c.waiters, slot)
		}
	}
	if at, ok := c.m.NextWake(); ok && (at.Before(c.now) || at.After(c.now.Add(longestSleep))) {
		c.t.Fatalf("NextWake is %v from now", at.Sub(c.now))
	}
}

// claim registers a worker for a live child, or garbage.
func (c *chaos) claim() {
	c.t.Helper()
	w := named("dynamic", restart(c.rnd.Intn(4)-2))
	w.StartTime = plugins.StartTime(c.rnd.Intn(5) - 1)
	w.Flags = plugins.Flags(c.rnd.Intn(32))
	w.NotifyPid = 99 + c.rnd.Intn(c.pids-90)
	slot := c.slots.claim(w)
	if slot >= 0 && c.world.alive(w.NotifyPid) {
		c.waiters[slot] = w.NotifyPid
	}
	c.do(postmaster.SlotsChanged{})
}

// children returns the children that have a pid, or have none, oldest first.
func (c *chaos) children(answered bool) []postmaster.ChildID {
	var ids []postmaster.ChildID
	for id, p := range c.world.children {
		if (p.pid != 0) == answered {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (c *chaos) exitSome() {
	c.t.Helper()
	ids := c.children(true)
	if len(ids) == 0 {
		return
	}
	states := []string{"", "08006", "53300", "57P01", "57P03"}
	c.do(postmaster.Exited{
		Child: ids[c.rnd.Intn(len(ids))], Ready: c.rnd.Intn(2) == 0, Clean: c.rnd.Intn(2) == 0, Critical: c.rnd.Intn(20) == 0, SQLState: states[c.rnd.Intn(len(states))],
		Status: postmaster.ExitStatus{Signaled: c.rnd.Intn(4) == 0, Code: c.rnd.Intn(3), Signal: []unix.Signal{unix.SIGTERM, unix.SIGKILL}[c.rnd.Intn(2)]},
	})
}

func (c *chaos) answer() {
	c.t.Helper()
	ids := c.children(false)
	if len(ids) == 0 {
		return
	}
	ev := postmaster.Spawned{Child: ids[c.rnd.Intn(len(ids))]}
	if c.rnd.Intn(4) == 0 {
		ev.Err, ev.Transient = errNoExec, c.rnd.Intn(2) == 0
	} else {
		c.pids++
		ev.Pid = c.pids
	}
	c.do(ev)
}

// end shuts the machine down in a random way and sees it through.
func (c *chaos) end() {
	c.t.Helper()
	c.do(postmaster.ShutdownRequested{Mode: postmaster.ShutdownMode(1 + c.rnd.Intn(3))})
	for i := 0; c.world.exits == 0; i++ {
		if i == 5000 {
			c.t.Fatal("the shutdown does not end")
		}
		c.act()
		if i == 20 {
			c.do(postmaster.ShutdownRequested{Mode: postmaster.ShutdownMode(1 + c.rnd.Intn(3))})
		}
	}
	for range 20 {
		c.act()
	}
	if c.world.exits != 1 {
		c.t.Errorf("%d exits", c.world.exits)
	}
}
