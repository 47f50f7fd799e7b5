package postmaster_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

const (
	dbFlags = plugins.ShmemAccess | plugins.BackendDatabaseConnection
	never   = plugins.NeverRestart
)

var (
	epoch     = time.Date(2025, 11, 21, 12, 0, 0, 0, time.UTC)
	serverA   = epoch.Add(-time.Hour)
	serverB   = epoch.Add(time.Hour)
	errNoExec = errors.New("\"/lib/x\": no such file or directory")
)

// rig drives a machine by hand: it says what time it is, answers spawns, and
// executes commands on fake slots. What happened is in trace, one line a
// command, until want takes it.
type rig struct {
	t       *testing.T
	m       *postmaster.Machine
	now     time.Time
	slots   *fakeSlots
	world   *world
	clients map[int]int // sessions, by the gateway's pid
	trace   []string
	checks  int                        // of the lock file; not in trace
	status  []string                   // of the lock file, one after the other; not in trace
	reports map[int]shmem.WorkerReport // the last ones; not in trace
	buried  []postmaster.Bury          // not in trace
	pids    int
	byName  map[string]postmaster.ChildID
	ready   map[string]time.Time // of the last spawns, by name
}

// newRig starts a machine with the given static workers and the monitor.
func newRig(t *testing.T, static ...plugins.BackgroundWorker) *rig {
	t.Helper()
	r := bareRig(t, static, postmaster.ServerMonitor)
	r.step(postmaster.Started{})
	r.started(postmaster.ServerMonitor)
	r.trace = nil
	return r
}

func bareRig(t *testing.T, static []plugins.BackgroundWorker, auxiliary ...string) *rig {
	t.Helper()
	slots := newFakeSlots(max(8, len(static)))
	r := &rig{t: t, now: epoch, slots: slots, world: newWorld(slots), pids: 100, byName: map[string]postmaster.ChildID{}, reports: map[int]shmem.WorkerReport{}, clients: map[int]int{}, ready: map[string]time.Time{}}
	r.m = postmaster.New(postmaster.Config{
		Slots: slots, Static: static, Auxiliary: auxiliary, Sessions: func(gateway int) int { return r.clients[gateway] },
	})
	return r
}

func (r *rig) step(ev postmaster.Event) {
	r.t.Helper()
	cmds := r.m.Step(r.now, ev)
	for _, problem := range r.world.execute(ev, cmds) {
		r.t.Errorf("after %#v: %s", ev, problem)
	}
	for _, cmd := range cmds {
		switch c := cmd.(type) {
		case postmaster.Spawn:
			r.byName[c.Aux+c.Preload+c.Worker.Name] = c.Child
			r.ready[c.Worker.Name] = c.Ready
		case postmaster.CheckLockFile:
			r.checks++
			continue
		case postmaster.SetReport:
			r.reports[c.Slot] = c.Report
			continue
		case postmaster.Bury:
			r.buried = append(r.buried, c)
			continue
		case postmaster.SetStatus:
			r.status = append(r.status, string(c.Status))
			continue
		}
		r.trace = append(r.trace, show(cmd))
	}
}

// pass lets time pass and delivers the Tick that was asked for.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	r.now = r.now.Add(d)
	r.step(postmaster.Tick{})
}

// started answers the spawn of name with the next pid, which it returns.
func (r *rig) started(name string) int {
	r.t.Helper()
	r.pids++
	r.step(postmaster.Spawned{Child: r.byName[name], Pid: r.pids})
	return r.pids
}

// fail answers the spawn of name with an error.
func (r *rig) fail(name string, err error, transient bool) {
	r.t.Helper()
	r.step(postmaster.Spawned{Child: r.byName[name], Err: err, Transient: transient})
}

func (r *rig) exit(name string, how postmaster.Exited) {
	r.t.Helper()
	how.Child = r.byName[name]
	r.step(how)
}

func (r *rig) server(state shmem.ServerState, started time.Time) {
	r.t.Helper()
	r.step(postmaster.ServerStateChanged{State: state, Started: started})
}

// register claims a slot as a child would and tells the machine.
func (r *rig) register(w plugins.BackgroundWorker) int {
	r.t.Helper()
	i := r.slots.claim(w)
	r.step(postmaster.SlotsChanged{})
	return i
}

func (r *rig) terminate(slot int) {
	r.t.Helper()
	r.slots.slot[slot].terminate = true
	r.step(postmaster.SlotsChanged{})
}

// want compares the commands since the last want with lines, and forgets them.
func (r *rig) want(lines ...string) {
	r.t.Helper()
	if !slices.Equal(r.trace, lines) {
		r.t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(r.trace, "\n\t"), strings.Join(lines, "\n\t"))
	}
	r.trace = nil
}

// wantWake checks how long after the present NextWake is.
func (r *rig) wantWake(d time.Duration) {
	r.t.Helper()
	if at, ok := r.m.NextWake(); !ok || at.Sub(r.now) != d {
		r.t.Errorf("NextWake: in %v, %v; want in %v", at.Sub(r.now), ok, d)
	}
}

func show(cmd postmaster.Command) string {
	switch c := cmd.(type) {
	case postmaster.Spawn:
		if c.Preload != "" {
			return "preload " + c.Preload
		}
		return fmt.Sprintf("spawn %s%s, slot %d", c.Aux, c.Worker.Name, c.Slot)
	case postmaster.Signal:
		return fmt.Sprintf("%s to %d", unix.SignalName(c.Sig), c.Pid)
	case postmaster.Notify:
		return fmt.Sprintf("notify %d", c.Pid)
	case postmaster.InitSlot:
		return fmt.Sprintf("init slot %d: %s", c.Slot, c.Worker.Name)
	case postmaster.SetSlotPid:
		return fmt.Sprintf("slot %d: pid %d", c.Slot, c.Pid)
	case postmaster.RestoreSlot:
		return fmt.Sprintf("restore slot %d: %s, pid %d", c.Slot, c.Worker.Name, c.Pid)
	case postmaster.ReleaseSlot:
		return fmt.Sprintf("release slot %d%s", c.Slot, map[bool]string{true: " (parallel)"}[c.Parallel])
	case postmaster.AnswerReload:
		return showAnswer(c)
	case postmaster.Log:
		line := fmt.Sprintf("%s: %s", c.Level, c.Message)
		if c.Detail != "" {
			line += " | " + c.Detail
		}
		return line
	}
	return fmt.Sprintf("%T%+v", cmd, cmd)[len("postmaster."):]
}

// named returns a valid worker; change makes another of it.
func named(name string, change ...func(*plugins.BackgroundWorker)) plugins.BackgroundWorker {
	w := plugins.BackgroundWorker{
		Name: name, Type: name + " type", Flags: plugins.ShmemAccess,
		RestartTime: 5, LibraryName: "lib", FunctionName: "main",
	}
	for _, c := range change {
		c(&w)
	}
	return w
}

func restart(seconds int) func(*plugins.BackgroundWorker) {
	return func(w *plugins.BackgroundWorker) { w.RestartTime = seconds }
}

func notifying(pid int) func(*plugins.BackgroundWorker) {
	return func(w *plugins.BackgroundWorker) { w.NotifyPid = pid }
}

func parallel(w *plugins.BackgroundWorker) { w.Flags |= plugins.ClassParallel; w.RestartTime = never }

// requested returns a worker as RegisterHeldBackgroundWorker registers it.
func requested(w plugins.BackgroundWorker, request int64) plugins.BackgroundWorker {
	d := w.Descriptor()
	d.Request = request
	return plugins.FromDescriptor(d)
}

// database makes a worker that starts with a consistent server.
func database(w *plugins.BackgroundWorker) {
	w.Flags, w.StartTime = dbFlags, plugins.StartAtConsistentState
}

func code(n int) postmaster.Exited {
	return postmaster.Exited{Ready: true, Clean: true, Status: postmaster.ExitStatus{Code: n}}
}

func killedBy(sig unix.Signal) postmaster.Exited {
	return postmaster.Exited{Ready: true, Status: postmaster.ExitStatus{Signaled: true, Signal: sig}}
}

func sqlState(state string) postmaster.Exited {
	ev := code(1)
	ev.SQLState = state
	return ev
}
