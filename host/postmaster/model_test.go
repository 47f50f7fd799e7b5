package postmaster_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/lifecycle"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// duel gives the same events to the machine and to the reference model, each of
// which has slots of its own, and compares after every step.
type duel struct {
	t       *rapid.T
	m       *postmaster.Machine
	model   *lifecycle.Model
	slots   *fakeSlots
	ids     map[*lifecycle.Process]postmaster.ChildID
	reports map[int]shmem.WorkerReport
	now     time.Time
	pids    int
	names   int
}

func newDuel(t *rapid.T, slots int, static []plugins.BackgroundWorker, auxiliary ...string) *duel {
	d := &duel{
		t: t, now: epoch, pids: 100, slots: newFakeSlots(slots),
		ids: map[*lifecycle.Process]postmaster.ChildID{}, reports: map[int]shmem.WorkerReport{},
		model: lifecycle.New(slots, static, auxiliary...),
	}
	d.m = postmaster.New(postmaster.Config{
		Slots: d.slots, Static: static, Auxiliary: auxiliary, Sessions: func(int) int { return d.model.Sessions },
	})
	return d
}

// step gives an event to both: ev to the machine, and to the model as told.
func (d *duel) step(ev postmaster.Event, told func()) {
	d.t.Helper()
	want := d.model.Step(d.now, told)
	cmds := d.m.Step(d.now, ev)
	var got []string
	for _, cmd := range cmds {
		if line, ok := d.execute(cmd); ok {
			got = append(got, line)
		}
	}
	if problem := compare(got, want); problem != "" {
		d.t.Fatalf("%+v: %s\nthe machine says\n\t%s\nthe model says\n\t%s", ev, problem, strings.Join(got, "\n\t"), strings.Join(texts(want), "\n\t"))
	}
	d.compareState()
}

// execute does what the shell does, and returns the command as a line unless
// it is a report.
func (d *duel) execute(cmd postmaster.Command) (line string, ok bool) {
	switch c := cmd.(type) {
	case postmaster.SetReport:
		d.reports[c.Slot] = c.Report
		return "", false
	case postmaster.Bury:
		return "", false
	case postmaster.Spawn:
		for _, p := range d.model.Processes {
			if p.Aux == c.Aux && (p.Worker == nil || p.Worker.Slot == c.Slot) {
				d.ids[p] = c.Child
			}
		}
	case postmaster.InitSlot:
		d.slots.slot[c.Slot] = fakeSlot{inUse: true, pid: -1, worker: c.Worker}
	case postmaster.SetSlotPid:
		d.slots.slot[c.Slot].pid = c.Pid
	case postmaster.ReleaseSlot:
		d.slots.slot[c.Slot].inUse = false
	case postmaster.RestoreSlot:
		s := &d.slots.slot[c.Slot]
		*s = fakeSlot{inUse: true, terminate: s.terminate, pid: c.Pid, generation: c.Generation, worker: c.Worker}
	case postmaster.Reinitialize:
		clear(d.slots.slot)
	}
	return show(cmd), true
}

func texts(effects []lifecycle.Effect) []string {
	var lines []string
	for _, e := range effects {
		lines = append(lines, e.Text)
	}
	return lines
}

// compare says in which way the machine did not do what the model wants: the
// same lines, and those of each chain in their order.
func compare(got []string, want []lifecycle.Effect) string {
	a, b := slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(texts(want)))
	if !slices.Equal(a, b) {
		return "other effects"
	}
	next := map[string]int{} // by chain: the first line of got that may come next
	for _, e := range want {
		for _, chain := range e.Chains {
			i := slices.Index(got[next[chain]:], e.Text)
			if i < 0 {
				return fmt.Sprintf("%q out of its order", e.Text)
			}
			next[chain] += i + 1
		}
	}
	for i, line := range got {
		if strings.HasPrefix(line, "Exit{") && i != len(got)-1 {
			return "something follows Exit"
		}
	}
	return ""
}

// compareState compares what can be seen at any time: slots, reports, and when
// the next event is due.
func (d *duel) compareState() {
	d.t.Helper()
	for i, s := range d.model.Slots {
		if got := d.slots.slot[i]; got.inUse != s.InUse || got.pid != s.Pid {
			d.t.Fatalf("slot %d: the machine's: in use %v, pid %d; the model's: %v, %d", i, got.inUse, got.pid, s.InUse, s.Pid)
		}
	}
	for _, w := range d.model.Workers {
		if want, settled := w.Report(); settled && d.reports[w.Slot] != want && !d.model.Exited {
			d.t.Fatalf("report on slot %d:\n%+v, the model has\n%+v", w.Slot, d.reports[w.Slot], want)
		}
	}
	at, ok := d.m.NextWake()
	if want := d.model.NextWake(); ok == d.model.Exited || ok && !at.Equal(want) {
		d.t.Fatalf("NextWake: in %v (%v); the model wants it in %v", at.Sub(d.now), ok, want.Sub(d.now))
	}
}

// The events, each told to both.

func (d *duel) begin()   { d.step(postmaster.Started{}, d.model.Begin) }
func (d *duel) tick()    { d.step(postmaster.Tick{}, d.model.Tick) }
func (d *duel) changed() { d.step(postmaster.SlotsChanged{}, d.model.Change) }

func (d *duel) answer(p *lifecycle.Process, pid int, err error, transient bool) {
	d.t.Helper()
	d.step(postmaster.Spawned{Child: d.ids[p], Pid: pid, Err: err, Transient: transient},
		func() { d.model.Answer(p, pid, err, transient) })
}

func (d *duel) exit(p *lifecycle.Process, e lifecycle.Exit) {
	d.t.Helper()
	d.step(postmaster.Exited{
		Child: d.ids[p], Pid: p.Pid, Status: postmaster.ExitStatus{Signaled: e.Signal != 0, Code: e.Code, Signal: e.Signal},
		Ready: e.Ready, Clean: e.Clean, Critical: e.Critical,
		SQLState: e.SQLState, Message: e.Message, Activity: e.Activity, Failure: e.Failure,
	}, func() { d.model.Exit(p, e) })
}

func (d *duel) news(state shmem.ServerState, since time.Time) {
	d.t.Helper()
	d.step(postmaster.ServerStateChanged{State: state, Started: since}, func() { d.model.News(state, since) })
}

func (d *duel) shutdown(mode lifecycle.Mode) {
	d.t.Helper()
	modes := map[lifecycle.Mode]postmaster.ShutdownMode{
		lifecycle.Smart: postmaster.SmartShutdown, lifecycle.Fast: postmaster.FastShutdown, lifecycle.Immediate: postmaster.ImmediateShutdown,
	}
	d.step(postmaster.ShutdownRequested{Mode: modes[mode]}, func() { d.model.Shutdown(mode) })
}

func (d *duel) configure(s lifecycle.Settings) {
	d.t.Helper()
	d.step(postmaster.Configured{
		WorkerStopTimeout: s.StopTimeout, CrashScope: postmaster.ParseCrashScope(s.CrashScope), RestartAfterCrash: s.RestartAfterCrash,
	}, func() { d.model.Configure(s) })
}

// clients says how many sessions the gateway has. Only of the last one's end is
// the machine told.
func (d *duel) clients(n int) {
	d.t.Helper()
	d.model.Sessions = n
	if n == 0 {
		d.step(postmaster.SessionsEnded{}, func() {})
	}
}

func (d *duel) reload()       { d.step(postmaster.ReloadRequested{}, d.model.Reload) }
func (d *duel) lockFileLost() { d.step(postmaster.LockFileInvalid{}, d.model.LockFileLost) }

// write lets a child write to both slot arrays.
func (d *duel) write(i int, s lifecycle.Slot) {
	d.model.Slots[i] = s
	d.slots.slot[i] = fakeSlot{inUse: s.InUse, terminate: s.Terminate, pid: s.Pid, worker: s.Worker}
}

// pick draws a process that has a pid, or has none.
func (d *duel) pick(answered bool) *lifecycle.Process {
	var list []*lifecycle.Process
	for _, p := range d.model.Processes {
		if (p.Pid != 0) == answered {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[rapid.IntRange(0, len(list)-1).Draw(d.t, "process")]
}

func drawExit(t *rapid.T) lifecycle.Exit {
	e := lifecycle.Exit{
		Code:  rapid.SampledFrom([]int{1, 0, 1, 2, 255}).Draw(t, "code"),
		Clean: rapid.Bool().Draw(t, "clean"), Ready: rapid.Bool().Draw(t, "ready"),
		Critical: rare(t),
		Activity: rapid.SampledFrom([]string{"", "select 1"}).Draw(t, "activity"),
	}
	switch rapid.SampledFrom([]string{"plain", "sqlstate", "sqlstate", "signal", "failure"}).Draw(t, "kind") {
	case "sqlstate":
		e.SQLState = rapid.SampledFrom([]string{"08006", "53300", "57P01", "57P02", "57P03", "42704"}).Draw(t, "sqlstate")
		e.Message = "text of " + e.SQLState
	case "signal":
		e.Code, e.Signal = 0, rapid.SampledFrom([]unix.Signal{unix.SIGTERM, unix.SIGKILL, unix.SIGSEGV, unix.SIGQUIT}).Draw(t, "signal")
	case "failure":
		e.Failure = errNoExec
	}
	return e
}
