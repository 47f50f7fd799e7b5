package postmaster_test

import (
	"flag"
	"fmt"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/lifecycle"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// How much the default run does: some seconds. -rapid.checks and -rapid.steps
// on the command line override it.
func init() {
	for name, n := range map[string]int{"rapid.checks": defaultChecks, "rapid.steps": 100} {
		if err := flag.Set(name, strconv.Itoa(n)); err != nil {
			panic(err)
		}
	}
}

// Whatever happens, the machine does what the model says. A failure ends with
// the shortest script that shows it.
func TestTheMachineDoesWhatTheModelSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) { newPlayer(t).play() })
}

// The same, guided by what code the scripts reach.
func FuzzTheMachineDoesWhatTheModelSays(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { newPlayer(t).play() }))
}

// The same in a crowded host: more workers than one launch pass starts, which
// is 100.
func TestTheMachineDoesWhatTheModelSaysOfManyWorkers(t *testing.T) {
	t.Parallel()
	static := make([]plugins.BackgroundWorker, 105)
	for i := range static {
		static[i] = named(fmt.Sprint("static ", i), restart(i%3))
	}
	rapid.Check(t, func(t *rapid.T) {
		if rapid.IntRange(0, 1<<16).Draw(t, "share")%16 != 15 {
			return // these scripts are long: fewer will do
		}
		d := newDuel(t, len(static), static, postmaster.ServerMonitor)
		d.begin()
		budget := 2 * len(static)
		for p := d.unanswered(); budget > 0; p = d.unanswered() {
			budget--
			switch {
			case p == nil && d.now.Equal(d.model.NextWake()):
				d.tick()
			case p == nil:
				return
			case rapid.SampledFrom([]bool{true, false, false, false, false, false, false, false, false}).Draw(t, "odd"):
				d.oddly(p)
			default:
				d.pids++
				d.answer(p, d.pids, nil, false)
			}
		}
	})
}

// The same where most of what happens is the server's doing: losses in a row,
// restarts, and workers that run long enough to be forgiven.
func TestTheMachineDoesWhatTheModelSaysOfLostServers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := newDuel(t, 4, workers(named("a", database), named("b", database, restart(never))), postmaster.ServerMonitor)
		p := &player{duel: d}
		d.begin()
		d.news(shmem.ServerReadWrite, serverA)
		actions := map[string]func(*rapid.T){"": func(*rapid.T) {}}
		for i := range 3 {
			actions[fmt.Sprint("start ", i)] = func(*rapid.T) { p.startWell() }
			actions[fmt.Sprint("lose ", i)] = func(*rapid.T) { p.lose() }
			actions[fmt.Sprint("same ", i)] = func(*rapid.T) { p.news(shmem.ServerReadWrite, serverA) }
			actions[fmt.Sprint("wake ", i)] = func(*rapid.T) { p.now = p.model.NextWake(); p.tick() }
		}
		actions["other"] = func(*rapid.T) { p.news(shmem.ServerStandby, serverB) }
		actions["gone"] = func(*rapid.T) { p.news(shmem.ServerUnreachable, serverA) }
		actions["pass"] = func(t *rapid.T) { p.now = p.now.Add(drawPause(t)); p.tick() }
		actions["register"] = func(*rapid.T) { p.register() }
		actions["terminate"] = func(*rapid.T) { p.terminate() }
		t.Repeat(actions)
	})
}

// startWell answers every request for a process with a pid.
func (p *player) startWell() {
	for child := p.unanswered(); child != nil; child = p.unanswered() {
		p.pids++
		p.answer(child, p.pids, nil, false)
	}
}

// lose ends a worker with an error of the server.
func (p *player) lose() {
	child := p.pick(true)
	if child == nil {
		return
	}
	e := lifecycle.Exit{Code: 1, Ready: true, Clean: true, Message: "text"}
	e.SQLState = rapid.SampledFrom([]string{"08006", "53300", "57P01", "57P02", "57P03", "42704"}).Draw(p.t, "sqlstate")
	p.exit(child, e)
}

func (d *duel) unanswered() *lifecycle.Process {
	for _, p := range d.model.Processes {
		if p.Pid == 0 {
			return p
		}
	}
	return nil
}

// oddly does something else than to answer a start with a pid.
func (d *duel) oddly(p *lifecycle.Process) {
	switch rapid.SampledFrom([]string{"tick", "fail", "exit", "time"}).Draw(d.t, "odd thing") {
	case "fail":
		d.answer(p, 0, errNoExec, rapid.Bool().Draw(d.t, "transient"))
	case "exit":
		if p := d.pick(true); p != nil {
			d.exit(p, lifecycle.Exit{Code: 1, Clean: true})
		}
	case "time":
		d.now = d.now.Add(time.Second)
		d.tick()
	default:
		d.tick()
	}
}

// player draws events. A host that has exited is followed by another.
type player struct {
	*duel
	static   []plugins.BackgroundWorker
	stopping bool
}

func newPlayer(t *rapid.T) *player {
	p := &player{static: rapid.SliceOfN(rapid.Custom(drawWorker), 0, 4).Draw(t, "static")}
	for i := range p.static {
		p.static[i].Name, p.static[i].Type = fmt.Sprint("static ", i), fmt.Sprint("type ", i)
	}
	p.duel = newDuel(t, 6, p.static, postmaster.ServerMonitor, "gateway")
	p.setUp()
	return p
}

func (p *player) setUp() {
	p.configure(drawSettings(p.t))
	p.begin()
	if rapid.SampledFrom([]bool{true, true, true, false}).Draw(p.t, "warm") { // else it is hit while it starts
		p.news(shmem.ServerReadWrite, serverA)
		p.startWell()
	}
}

func (p *player) play() {
	actions := map[string]func(*rapid.T){
		"": func(t *rapid.T) {
			if p.model.Exited {
				p.afterExit()
				p.stopping = false
				p.duel = newDuel(t, 6, p.static, postmaster.ServerMonitor, "gateway")
				p.setUp()
			}
		},
		"news": func(t *rapid.T) {
			state := rapid.SampledFrom([]shmem.ServerState{shmem.ServerReadWrite, shmem.ServerStandby, shmem.ServerUnreachable, shmem.ServerStarting}).Draw(t, "state")
			p.news(state, rapid.SampledFrom([]time.Time{{}, serverA, serverB}).Draw(t, "server"))
		},
		"reload":    func(t *rapid.T) { p.reload(); p.configure(drawSettings(t)) },
		"late":      func(t *rapid.T) { p.now = p.now.Add(drawPause(t)) }, // the next event comes when something is overdue
		"pass":      func(t *rapid.T) { p.now = p.now.Add(drawPause(t)); p.tick() },
		"wake":      func(*rapid.T) { p.now = p.model.NextWake(); p.tick() },
		"too early": func(*rapid.T) { p.tooEarly() },
		"garbage": func(t *rapid.T) {
			if rare(t) {
				p.garbage()
			}
		},
		"recycled":  func(*rapid.T) { p.recycled() },
		"terminate": func(*rapid.T) { p.terminate() },
		"shutdown": func(t *rapid.T) {
			if rare(t) || p.stopping {
				p.stopping = true
				p.shutdown(rapid.SampledFrom([]lifecycle.Mode{lifecycle.Smart, lifecycle.Fast, lifecycle.Immediate}).Draw(t, "mode"))
			}
		},
		"clients": func(t *rapid.T) { p.clients(rapid.SampledFrom([]int{0, 1, 2, shmem.MaxSlots}).Draw(t, "sessions")) },
		"lock file": func(t *rapid.T) {
			if rapid.IntRange(0, 1<<16).Draw(t, "rarer")%64 == 63 {
				p.lockFileLost()
			}
		},
		"stale news of a child": func(*rapid.T) { p.step(postmaster.Exited{Child: 1 << 40}, func() {}) },
	}
	for i := range 4 { // most of what happens
		actions[fmt.Sprint("register ", i)] = func(*rapid.T) { p.register() }
		actions[fmt.Sprint("start ", i)] = func(*rapid.T) { p.start() }
		actions[fmt.Sprint("start more ", i)] = func(*rapid.T) { p.start() }
	}
	for i := range 2 {
		actions[fmt.Sprint("exit ", i)] = func(t *rapid.T) {
			if child := p.pick(true); child != nil {
				p.exit(child, drawExit(t))
			}
		}
	}
	p.t.Repeat(actions)
}

// rare is true now and then: what ends everything must leave room for life.
func rare(t *rapid.T) bool { return rapid.IntRange(0, 1<<16).Draw(t, "rare")%8 == 7 }

func drawSettings(t *rapid.T) lifecycle.Settings {
	return lifecycle.Settings{
		StopTimeout:       rapid.SampledFrom([]time.Duration{0, 2 * time.Second, 12 * time.Second}).Draw(t, "worker_stop_timeout"),
		CrashScope:        rapid.SampledFrom([]string{"auto", "cluster", "worker"}).Draw(t, "crash_scope"),
		RestartAfterCrash: rapid.SampledFrom([]bool{true, true, true, false}).Draw(t, "restart_after_crash"),
	}
}

func drawPause(t *rapid.T) time.Duration {
	return rapid.SampledFrom([]time.Duration{
		1, 50 * time.Millisecond, 100 * time.Millisecond, time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second, time.Minute, time.Hour,
	}).Draw(t, "pause")
}

// drawWorker draws one that passes the checks of a registration.
func drawWorker(t *rapid.T) plugins.BackgroundWorker {
	w := named("w", restart(rapid.SampledFrom([]int{never, 0, 1, 5, 60}).Draw(t, "restart")))
	if rapid.Bool().Draw(t, "database") {
		w.Flags = dbFlags
		w.StartTime = rapid.SampledFrom([]plugins.StartTime{plugins.StartAtConsistentState, plugins.StartAtRecoveryFinished}).Draw(t, "at")
	}
	if w.RestartTime == never && rapid.Bool().Draw(t, "parallel") {
		w.Flags |= plugins.ClassParallel
	}
	return requested(w, rapid.SampledFrom([]int64{0, 0, 0, 1, -1}).Draw(t, "request"))
}

// register claims a slot for a worker, sound or not, with a waiter that lives
// or does not.
func (p *player) register() {
	w := drawWorker(p.t)
	p.names++
	w.Name, w.Type = fmt.Sprint("dynamic ", p.names), fmt.Sprint("type ", p.names)
	switch rapid.SampledFrom([]string{"sound", "sound", "sound", "garbage"}).Draw(p.t, "descriptor") {
	case "garbage":
		w.StartTime = plugins.StartTime(rapid.IntRange(-1, 3).Draw(p.t, "start time"))
		w.RestartTime = rapid.SampledFrom([]int{-2, plugins.MaxRestartInterval, plugins.MaxRestartInterval + 1, 3}).Draw(p.t, "restart time")
		w.Flags = plugins.Flags(rapid.IntRange(0, 31).Draw(p.t, "flags"))
		w.NotifyPid = rapid.SampledFrom([]int{-1, 0, 1, 1 << 40}).Draw(p.t, "notify pid")
	default:
		if waiter := p.pick(true); waiter != nil {
			w.NotifyPid = waiter.Pid
		}
	}
	for i, s := range p.model.Slots {
		if !s.InUse {
			p.write(i, lifecycle.Slot{InUse: true, Pid: -1, Worker: w, Terminate: rapid.SampledFrom([]bool{false, false, false, false, false, true}).Draw(p.t, "terminate")})
			break
		}
	}
	if rapid.SampledFrom([]bool{true, true, false}).Draw(p.t, "signal") { // or the next one's will do
		p.changed()
	}
}

// start answers the request for a process.
func (p *player) start() {
	child := p.pick(false)
	switch {
	case child == nil:
	case rapid.SampledFrom([]bool{false, false, false, true}).Draw(p.t, "fail"):
		p.answer(child, 0, errNoExec, rapid.Bool().Draw(p.t, "transient"))
	default:
		p.pids++
		p.answer(child, p.pids, nil, false)
	}
}

// recycled answers with the pid of a child whose end is not known yet.
func (p *player) recycled() {
	if child, former := p.pick(false), p.pick(true); child != nil && former != nil {
		p.answer(child, former.Pid, nil, false)
	}
}

func (p *player) terminate() {
	i := rapid.IntRange(0, len(p.slots.slot)-1).Draw(p.t, "slot")
	s := p.model.Slots[i]
	s.Terminate = true
	p.write(i, s)
	p.changed()
}

// garbage is what a hostile child does to the segment.
func (p *player) garbage() {
	if rapid.Bool().Draw(p.t, "total") {
		p.model.Total = rapid.SampledFrom([]int64{-1, 0, 7, 1 << 40}).Draw(p.t, "total slots")
		p.slots.total = p.model.Total
		p.changed()
		p.model.Total, p.slots.total = 6, 6
		return
	}
	i := rapid.IntRange(0, len(p.slots.slot)-1).Draw(p.t, "slot")
	w := drawWorker(p.t)
	w.Name = "nonsense"
	p.write(i, lifecycle.Slot{
		InUse: rapid.Bool().Draw(p.t, "in use"), Terminate: rapid.Bool().Draw(p.t, "terminate"),
		Pid: rapid.SampledFrom([]int{-1, 0, 1, 101}).Draw(p.t, "pid"), Worker: w,
	})
	p.changed()
}

// tooEarly wakes the machine up a moment before it asked for that: nothing may
// happen then.
func (p *player) tooEarly() {
	if at := p.model.NextWake().Add(-1); at.After(p.now) {
		p.now = at
		p.tick()
	}
}

// afterExit gives the machine events that come too late.
func (p *player) afterExit() {
	p.changed()
	p.tick()
	p.shutdown(lifecycle.Immediate)
}
