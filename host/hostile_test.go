package host

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/hostile"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// torture is the environment variable that makes tests of hostile shared memory
// run for minutes.
const torture = "PGEXTHOST_TORTURE"

// The core and the parts of the shell that read shared memory, on a segment that
// is overwritten all the while. Children are not real: nobody is started, and
// nobody is signalled, but each command is checked against what the shell knows.
func TestNoContentOfSharedMemoryMisleadsTheHost(t *testing.T) {
	rounds := 250
	if os.Getenv(torture) != "" {
		rounds = 2500
	}
	for seed := range uint64(4) {
		for _, scope := range []postmaster.CrashScope{postmaster.CrashScopeAuto, postmaster.CrashScopeCluster, postmaster.CrashScopeWorker} {
			t.Run(fmt.Sprintf("seed %d, scope %d", seed, scope), func(t *testing.T) {
				t.Parallel()
				r := newHostileRig(t, seed, scope)
				for range rounds {
					r.round()
				}
				r.end()
			})
		}
	}
}

const (
	hostileSlots  = 12
	hostileStatic = 4
	mostCommands  = 50 * (hostileSlots + 10) // of one step: so many per slot and child at most
	longestStep   = 10 * time.Second         // tells "slow" from "never"
	firstFakePid  = 1 << 23                  // above what any kernel gives away
)

// hostileRig is a shell without processes.
type hostileRig struct {
	*host
	t     *testing.T
	rnd   *rand.Rand
	now   time.Time
	pids  int
	ended bool

	asked map[postmaster.ChildID]*process // whose start is not answered
	names map[postmaster.ChildID]string   // of the workers
	told  map[postmaster.ChildID]bool     // to end

	mu      sync.Mutex // held while shared memory is made anew or garbled by the other goroutine
	garbler *hostile.Garbler
}

func newHostileRig(t *testing.T, seed uint64, scope postmaster.CrashScope) *hostileRig {
	t.Helper()
	h := &host{log: elog.NewLogger(io.Discard), store: guc.NewStore(settings.Definitions()...), events: make(chan any, 64), stopped: make(chan struct{})}
	if reports := h.store.ApplyStartup(guc.Config{Items: []guc.Item{{Name: settings.MaxWorkerProcesses, Value: strconv.Itoa(hostileSlots)}}}); len(reports) != 0 {
		t.Fatal(reports[0])
	}
	if err := h.makeSegment(); err != nil {
		t.Fatal(err)
	}
	h.children = &children{segment: h.segment, alarm: h.alarm, log: h.log, byID: make(map[postmaster.ChildID]*process), records: make([]bool, h.segment.ProcCount())}
	r := &hostileRig{
		host: h, t: t, rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Now(), pids: firstFakePid,
		asked: make(map[postmaster.ChildID]*process), names: make(map[postmaster.ChildID]string), told: make(map[postmaster.ChildID]bool),
	}
	var static []plugins.BackgroundWorker
	for i := range hostileStatic {
		static = append(static, plugins.BackgroundWorker{Name: fmt.Sprint("static ", i), Flags: plugins.ShmemAccess, RestartTime: i, LibraryName: "x", FunctionName: "y"})
	}
	h.machine = postmaster.New(postmaster.Config{Slots: coreSlots{h}, Static: static, Auxiliary: []string{postmaster.ServerMonitor, "control server"}})
	r.garble()
	t.Cleanup(func() { close(h.stopped); _ = h.alarm.Close(); r.garbler.Close() })
	r.step(postmaster.Configured{CrashScope: scope, RestartAfterCrash: true})
	r.step(postmaster.Started{})
	return r
}

// garble has the garbler work on the segment that there is.
func (r *hostileRig) garble() {
	r.t.Helper()
	if r.garbler != nil {
		r.garbler.Close()
	}
	fd, err := unix.Dup(int(r.segment.File().Fd()))
	if err != nil {
		r.t.Fatal(err)
	}
	own, err := shmem.Attach(os.NewFile(uintptr(fd), "segment"))
	if err != nil {
		r.t.Fatal(err)
	}
	if r.garbler, err = hostile.New(own, r.alarm, r.rnd.Uint64(), 1, os.Getpid(), os.Getppid(), firstFakePid+1, firstFakePid+2, firstFakePid+9); err != nil {
		r.t.Fatal(err)
	}
}

// round garbles before, and beside, something that happens.
func (r *hostileRig) round() {
	r.t.Helper()
	r.garbler.Round()
	var beside sync.WaitGroup
	beside.Go(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.garbler.Round()
	})
	defer beside.Wait()
	r.happen()
}

// happen makes one thing happen, as in checkSignals, born and buried.
func (r *hostileRig) happen() {
	r.t.Helper()
	switch r.rnd.IntN(8) {
	case 0, 1, 2:
		r.look()
	case 3, 4:
		r.answer(r.rnd.IntN(5) == 0)
	case 5:
		for _, p := range r.children.byID {
			r.exit(p)
			break
		}
	case 6:
		r.now = r.now.Add(time.Duration(r.rnd.Int64N(int64(5 * time.Second))))
		r.tick()
	default:
		r.children.poke(postmaster.ServerMonitor)
		r.step(postmaster.ReloadRequested{})
	}
}

// look is checkSignals.
func (r *hostileRig) look() {
	r.t.Helper()
	if r.segment.TakePostmasterSignal(shmem.PMSignalServerState) {
		if state, since, err := r.segment.ServerState(); err == nil {
			r.step(postmaster.ServerStateChanged{State: state, Started: since})
		}
	}
	if r.segment.TakePostmasterSignal(shmem.PMSignalBackgroundWorkerChange) {
		r.step(postmaster.SlotsChanged{Slots: r.slots.TakeChanges()})
	}
}

// answer answers all starts.
func (r *hostileRig) answer(fail bool) {
	r.t.Helper()
	for id, p := range r.asked {
		delete(r.asked, id)
		if fail {
			r.children.records[p.index] = false
			r.step(postmaster.Spawned{Child: id, Err: unix.EAGAIN, Transient: r.rnd.IntN(2) == 0})
			continue
		}
		r.pids++
		p.pid = r.pids
		p.record.SetPid(p.pid)
		r.children.byID[id] = p
		r.step(postmaster.Spawned{Child: id, Pid: p.pid})
	}
}

// exit ends a child with whatever its record says by now.
func (r *hostileRig) exit(p *process) {
	r.t.Helper()
	ev := r.children.lastWords(p)
	switch r.rnd.IntN(3) {
	case 0:
		ev.Status.Code = 1
	case 1:
		ev.Status.Code = 2
	default:
		ev.Status.Signaled, ev.Status.Signal = true, unix.SIGKILL
	}
	r.children.forget(p)
	r.step(ev)
}

// tick delivers Ticks as long as they are due: each must lead somewhere.
func (r *hostileRig) tick() {
	r.t.Helper()
	for range 1000 {
		r.step(postmaster.Tick{})
		if at, ok := r.machine.NextWake(); !ok || at.After(r.now) {
			return
		}
		r.answer(false)
	}
	r.t.Fatal("the core asks for one Tick after the other")
}

func (r *hostileRig) step(ev postmaster.Event) {
	r.t.Helper()
	start := time.Now()
	commands := r.machine.Step(r.now, ev)
	if took := time.Since(start); took > longestStep {
		r.t.Fatalf("%T took %v", ev, took)
	}
	if len(commands) > mostCommands {
		r.t.Fatalf("%T led to %d commands", ev, len(commands))
	}
	if at, ok := r.machine.NextWake(); ok && (at.Before(r.now) || at.After(r.now.Add(time.Minute))) {
		r.t.Fatalf("after %T the core sleeps %v", ev, at.Sub(r.now))
	}
	for _, cmd := range commands {
		r.do(cmd)
	}
}

// do checks a command by what the shell knows by itself, and executes those
// that touch shared memory.
func (r *hostileRig) do(cmd postmaster.Command) {
	r.t.Helper()
	inRange := func(slot int) {
		if slot < 0 || slot >= hostileSlots {
			r.t.Fatalf("%#v: there is no such slot", cmd)
		}
	}
	switch cmd := cmd.(type) {
	case postmaster.Spawn:
		r.spawn(cmd)
		return
	case postmaster.Signal:
		if p := r.children.byID[cmd.Child]; p == nil || p.pid != cmd.Pid {
			r.t.Fatalf("%+v: that is none of our children", cmd)
		}
		r.told[cmd.Child] = r.told[cmd.Child] || cmd.Sig != unix.SIGHUP
		return
	case postmaster.Notify:
		if !r.isOurs(cmd.Pid) {
			r.t.Fatalf("%+v: that is none of our children", cmd)
		}
		return
	case postmaster.SetSlotPid:
		if inRange(cmd.Slot); cmd.Pid > shmem.DeadPid && !r.isOurs(cmd.Pid) {
			r.t.Fatalf("%+v: that is none of our children", cmd)
		}
	case postmaster.InitSlot:
		inRange(cmd.Slot)
	case postmaster.ReleaseSlot:
		inRange(cmd.Slot)
	case postmaster.SetReport:
		inRange(cmd.Slot)
	case postmaster.RestoreSlot:
		if inRange(cmd.Slot); cmd.Pid > 0 && !r.isOurs(cmd.Pid) {
			r.t.Fatalf("%+v: that is none of our children", cmd)
		}
	case postmaster.Log:
		if bytes.IndexByte([]byte(cmd.Message), 0) >= 0 || len(cmd.Message) > 4096 {
			r.t.Fatalf("it logs %q", cmd.Message)
		}
		return
	case postmaster.Reinitialize:
		r.remake()
		return
	case postmaster.Exit:
		r.ended = true
		return
	case postmaster.Reload, postmaster.SetStatus, postmaster.CheckLockFile:
		return
	}
	r.execute(cmd)
}

func (r *hostileRig) isOurs(pid int) bool {
	for _, p := range r.children.byID {
		if p.pid == pid {
			return true
		}
	}
	return false
}

// spawn is children.start, less the process.
func (r *hostileRig) spawn(cmd postmaster.Spawn) {
	r.t.Helper()
	index, ok := r.children.takeRecord(shmem.ProcWorker)
	if !ok {
		r.t.Fatal("no process record is free")
	}
	r.asked[cmd.Child] = &process{id: cmd.Child, index: index, record: r.segment.Proc(index), auxiliary: cmd.Aux}
	r.names[cmd.Child] = cmd.Aux + cmd.Worker.Name
}

// remake is what follows a crash.
func (r *hostileRig) remake() {
	r.t.Helper()
	if len(r.children.byID)+len(r.asked) > 0 {
		r.t.Fatal("shared memory is made anew under the feet of children")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.remakeSharedMemory(); err != nil {
		r.t.Fatal(err)
	}
	r.garble()
}

// end lets hours pass without garbage: the host's own workers run, and it can be
// shut down.
func (r *hostileRig) end() {
	r.t.Helper()
	for range 100 {
		r.now = r.now.Add(time.Minute)
		r.obey()
		r.tick()
	}
	r.answer(false)
	running := make(map[string]int)
	for id := range r.children.byID {
		running[r.names[id]]++
	}
	for i := range hostileStatic {
		if n := running[fmt.Sprint("static ", i)]; n != 1 {
			r.t.Errorf("static worker %d has %d processes", i, n)
		}
	}
	r.step(postmaster.ShutdownRequested{Mode: postmaster.FastShutdown})
	for range 100 {
		r.obey()
		r.tick()
	}
	if !r.ended {
		r.t.Error("the shutdown does not end")
	}
}

// obey ends the children that are told to end, after all starts are answered.
func (r *hostileRig) obey() {
	r.t.Helper()
	r.answer(false)
	for id, p := range r.children.byID {
		if r.told[id] {
			r.exit(p)
		}
	}
}
