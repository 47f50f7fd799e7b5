//go:build linux

package integration

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/pgexthost/pgexthost/internal/lifecycle"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// How many hosts are judged by default, and how long their lives are. The flags
// -rapid.checks and -rapid.steps override it.
func init() {
	for name, n := range map[string]int{"rapid.checks": 8, "rapid.steps": 25} {
		if err := flag.Set(name, strconv.Itoa(n)); err != nil {
			panic(err)
		}
	}
}

// The reference model judges real processes on the real segment: what is in the
// slots, what handles say, and what the host logs of each worker.
func TestRealProcessesDoWhatTheModelSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		j := newJudge(t, rt)
		rt.Repeat(map[string]func(*rapid.T){
			"register":      func(*rapid.T) { j.register() },
			"register more": func(*rapid.T) { j.register() },
			"terminate":     func(*rapid.T) { j.terminate() },
			"kill":          func(*rapid.T) { j.kill() },
			"kill more":     func(*rapid.T) { j.kill() },
			"hasty":         func(*rapid.T) { j.registerAndTerminate() },
			"reload":        func(*rapid.T) { j.reload() },
			"":              func(*rapid.T) { j.compare() },
		})
		j.shutdown()
	})
}

// judge drives a host through its launcher, and tells the model what it did and
// what it saw that nobody can predict: pids.
type judge struct {
	t    *testing.T
	rt   *rapid.T
	h    *testHost
	l    *testLauncher
	m    *lifecycle.Model
	real shmem.BackendSlots

	calls   net.Listener // of the launchers: a crash cycle brings another
	cluster bool         // crash_scope = cluster
	cycles  int

	now     time.Time // of the model: a moment per event
	lines   []string  // predicted of the log
	workers []*judged
}

// judged is a registration that the launcher made.
type judged struct {
	model  *lifecycle.Worker
	handle plugins.Handle
	name   string
	how    ending
	starts int
	exits  int
	stale  bool // the handle is from before a crash cycle
}

// ending is how the function of a worker ends: by itself, and after SIGTERM.
type ending struct {
	function string
	byItself *lifecycle.Exit // nil: it waits
	sigterm  lifecycle.Exit
}

var endings = []ending{
	{function: "wait", sigterm: lifecycle.Exit{Code: 1, Clean: true}},
	{function: "own_sigterm", sigterm: lifecycle.Exit{Code: 0, Clean: true}},
	{function: "return_nil", byItself: &lifecycle.Exit{Code: 0, Clean: true}},
	{function: "return_error", byItself: &lifecycle.Exit{Code: 1, Clean: true, SQLState: "XX000"}},
	{function: "exit_0", byItself: &lifecycle.Exit{Code: 0}},
	{function: "exit_1", byItself: &lifecycle.Exit{Code: 1}},
	{function: "exit_7", byItself: &lifecycle.Exit{Code: 7}},
	{function: "panic_elsewhere", byItself: &lifecycle.Exit{Code: 2}},
}

const judgedSlots = 5

func newJudge(t *testing.T, rt *rapid.T) *judge {
	dir := newDataDir(t, "")
	calls, err := net.Listen("unix", filepath.Join(dir, launcherSocket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = calls.Close() })
	j := &judge{t: t, rt: rt, now: time.Unix(0, 0), calls: calls, cluster: rapid.Bool().Draw(rt, "cluster")}
	static := plugins.BackgroundWorker{Name: "l", Type: "launcher", FunctionName: "launcher", Flags: plugins.ShmemAccess}
	settings := lifecycle.Settings{CrashScope: map[bool]string{true: "cluster", false: "auto"}[j.cluster], RestartAfterCrash: true}
	j.h = startHost(t, inDir(dir), withWorkers(static), withSetting(fmt.Sprint("max_worker_processes=", judgedSlots)), withSetting("crash_scope="+settings.CrashScope))
	j.m = lifecycle.New(judgedSlots, []plugins.BackgroundWorker{static})
	j.tell(func() { j.m.Configure(settings); j.m.Begin() })
	j.seeLauncher()
	return j
}

// seeLauncher waits for the call of the launcher that the model has started.
func (j *judge) seeLauncher() {
	if err := j.calls.(*net.UnixListener).SetDeadline(time.Now().Add(limit)); err != nil {
		j.t.Fatal(err)
	}
	conn, err := j.calls.Accept()
	if err != nil {
		j.t.Fatalf("no launcher calls: %v", err)
	}
	j.t.Cleanup(func() { _ = conn.Close() })
	j.l = &testLauncher{t: j.t, name: "l", conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}
	j.l.pid = j.l.answer().Pid
	j.real = j.h.segment(j.l.pid).BackendSlots(0)
	j.tell(func() { j.m.Answer(j.unanswered(), j.l.pid, nil, false) })
}

// unanswered returns the process that the model waits for, or nil.
func (j *judge) unanswered() *lifecycle.Process {
	i := slices.IndexFunc(j.m.Processes, func(p *lifecycle.Process) bool { return p.Pid == 0 })
	if i < 0 {
		return nil
	}
	return j.m.Processes[i]
}

// exit tells the model of an exit, and sees the crash cycle through that may
// follow from it.
func (j *judge) exit(p *lifecycle.Process, e lifecycle.Exit) {
	j.tell(func() { j.m.Exit(p, e) })
	if !j.m.Crashing() {
		return
	}
	for j.m.Crashing() {
		p := j.m.Processes[0]
		j.tell(func() { j.m.Exit(p, lifecycle.Exit{Code: 2, Ready: true}) })
	}
	j.cycles++
	j.h.waitLogCount(`LOG:  all server processes terminated; reinitializing$`, j.cycles)
	byName := map[string]*judged{}
	for _, w := range j.workers {
		w.stale = true
		byName[w.name] = w
	}
	for _, m := range j.m.Workers {
		if w := byName[m.Def.Name]; w != nil {
			w.model = m
		}
	}
	for p := j.unanswered(); p != nil; p = j.unanswered() {
		if w := byName[p.Worker.Def.Name]; w != nil {
			j.see(w)
		} else {
			j.seeLauncher()
		}
	}
}

// tell lets the model know of an event.
func (j *judge) tell(event func()) {
	j.now = j.now.Add(time.Nanosecond)
	for _, e := range j.m.Step(j.now, event) {
		j.lines = append(j.lines, e.Text)
	}
}

// slotOf returns the slot of a worker while it is registered.
func (j *judge) slotOf(w *judged) (int, bool) {
	return w.model.Slot, slices.Contains(j.m.Workers, w.model)
}

func (j *judge) process(w *judged) *lifecycle.Process {
	for _, p := range j.m.Processes {
		if p.Worker == w.model {
			return p
		}
	}
	return nil
}

func (j *judge) register() {
	n := len(j.workers)
	w := &judged{name: fmt.Sprint("w", n), how: rapid.SampledFrom(endings).Draw(j.rt, "function")}
	def := plugins.BackgroundWorker{Name: w.name, Type: fmt.Sprint("t", n), FunctionName: w.how.function}
	restarts := []int{plugins.NeverRestart, 3600}
	if w.how.byItself == nil {
		restarts = append(restarts, 0)
	}
	if e := w.how.byItself; j.cluster && e != nil && e.Code > 1 {
		restarts = restarts[:1] // or one crash cycle follows another
	}
	def.RestartTime = rapid.SampledFrom(restarts).Draw(j.rt, "restart")
	def.StartTime = rapid.SampledFrom([]plugins.StartTime{plugins.StartAtPostmasterStart, plugins.StartAtPostmasterStart, plugins.StartAtConsistentState}).Draw(j.rt, "at")
	def = j.l.notified(def)
	a := j.l.do(order{Do: "register", Worker: def})
	free := slices.IndexFunc(j.m.Slots, func(s lifecycle.Slot) bool { return !s.InUse })
	if a.NoSlot != (free < 0) {
		j.rt.Fatalf("register: %+v; the model's first free slot is %d", a, free)
	}
	if a.NoSlot {
		return
	}
	j.m.Slots[free] = lifecycle.Slot{InUse: true, Pid: -1, Worker: def}
	j.tell(j.m.Change)
	j.h.waitLog(fmt.Sprintf(`DEBUG:  registering background worker "%s"$`, w.name)) // the slot does not show that
	w.handle, w.model = a.Handle, j.m.Workers[len(j.m.Workers)-1]
	j.workers = append(j.workers, w)
	j.see(w)
}

// registerAndTerminate waits for nothing in between. Nobody can say whether the
// host hears of the worker before it hears of its end, or how far it has come
// with it then: the log tells, and the model must agree with the rest.
func (j *judge) registerAndTerminate() {
	free := slices.IndexFunc(j.m.Slots, func(s lifecycle.Slot) bool { return !s.InUse })
	if free < 0 {
		return
	}
	w := &judged{name: fmt.Sprint("w", len(j.workers)), how: endings[0]}
	def := j.l.notified(plugins.BackgroundWorker{Name: w.name, Type: fmt.Sprint("t", len(j.workers)), FunctionName: w.how.function})
	w.handle = j.l.must(order{Do: "register", Worker: def}).Handle
	j.l.must(order{Do: "terminate", Handle: w.handle})
	j.l.must(order{Do: "await end", Handle: w.handle})
	j.reload() // the log has now all that came before
	j.workers = append(j.workers, w)
	j.m.Slots[free] = lifecycle.Slot{InUse: true, Pid: -1, Worker: def}
	if j.h.count(fmt.Sprintf(` registering background worker "%s"$`, w.name)) == 0 {
		w.model = &lifecycle.Worker{Def: def, Slot: free}
		j.m.Slots[free].Terminate = true
		j.tell(j.m.Change)
		return
	}
	j.tell(j.m.Change)
	w.model = j.m.Workers[len(j.m.Workers)-1]
	j.m.Slots[free].Terminate = true
	j.tell(j.m.Change)
	p := j.process(w)
	pid := j.awaitExit(w)
	j.tell(func() { j.m.Answer(p, pid, nil, false) })
	j.tell(func() { j.m.Exit(p, w.how.sigterm) })
}

// see follows a worker that the model has started until it stays as it is.
func (j *judge) see(w *judged) {
	for p := j.process(w); p != nil && p.Pid == 0; p = j.process(w) {
		w.starts++
		j.h.waitLogCount(fmt.Sprintf(`DEBUG:  starting background worker process "%s"$`, w.name), w.starts)
		if w.how.byItself != nil {
			pid := j.awaitExit(w)
			j.tell(func() { j.m.Answer(p, pid, nil, false) })
			j.exit(p, *w.how.byItself)
			continue
		}
		lines := j.h.waitLogCount(`\[(\d+)\] LOG:  `+w.name+` waits$`, w.starts) // it can handle signals now
		pid := j.number(lines[len(lines)-1][1])
		j.tell(func() { j.m.Answer(p, pid, nil, false) })
	}
}

// awaitExit waits for the line about a worker's next exit and returns its pid.
// Whether the line is right is seen in the end.
func (j *judge) awaitExit(w *judged) int {
	w.exits++
	lines := j.h.waitLogCount(fmt.Sprintf(`background worker "%s" \(PID (\d+)\) (exited|was terminated)`, w.model.Def.Type), w.exits)
	return j.number(lines[len(lines)-1][1])
}

func (j *judge) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		j.rt.Fatal(err)
	}
	return n
}

// terminate uses any handle there ever was.
func (j *judge) terminate() {
	if len(j.workers) == 0 {
		return
	}
	w := rapid.SampledFrom(j.workers).Draw(j.rt, "handle of")
	j.l.must(order{Do: "terminate", Handle: w.handle})
	slot, registered := j.slotOf(w)
	if !registered || w.stale {
		return
	}
	j.m.Slots[slot].Terminate = true
	j.tell(j.m.Change)
	if p := j.process(w); p != nil {
		j.awaitExit(w)
		j.tell(func() { j.m.Exit(p, w.how.sigterm) })
	}
	j.l.must(order{Do: "await end", Handle: w.handle})
}

// kill ends a worker behind the host's back.
func (j *judge) kill() {
	running := slices.DeleteFunc(slices.Clone(j.workers), func(w *judged) bool { return j.process(w) == nil })
	if len(running) == 0 {
		return
	}
	w := rapid.SampledFrom(running).Draw(j.rt, "victim")
	sig := rapid.SampledFrom([]unix.Signal{unix.SIGTERM, unix.SIGQUIT, unix.SIGKILL}).Draw(j.rt, "signal")
	e := map[unix.Signal]lifecycle.Exit{
		unix.SIGTERM: w.how.sigterm, unix.SIGQUIT: {Code: 2, Ready: true}, unix.SIGKILL: {Signal: unix.SIGKILL, Ready: true},
	}[sig]
	p := j.process(w)
	kill(j.t, p.Pid, sig)
	j.awaitExit(w)
	j.exit(p, e)
	j.see(w)
}

func (j *judge) reload() {
	before := j.h.count(`received SIGHUP`)
	j.h.signal(unix.SIGHUP)
	j.h.waitLogCount(`LOG:  received SIGHUP, reloading configuration files$`, before+1)
	j.tell(j.m.Reload)
}

// compare compares slots and handles. A line in the log may come a moment
// before its effects or after them, so that it waits for the two to agree.
func (j *judge) compare() {
	var problem string
	for deadline := time.Now().Add(limit); ; {
		if problem = j.difference(); problem == "" {
			return
		}
		if time.Now().After(deadline) {
			j.rt.Fatal(problem)
		}
	}
}

func (j *judge) difference() string {
	for i, want := range j.m.Slots {
		got, inUse := j.real.Info(i)
		switch {
		case inUse != want.InUse:
			return fmt.Sprintf("slot %d: in use %v, the model says %v", i, inUse, want.InUse)
		case inUse && (got.Pid != want.Pid || got.Terminate != want.Terminate):
			return fmt.Sprintf("slot %d: pid %d, terminate %v, the model says %+v", i, got.Pid, got.Terminate, want)
		}
	}
	for _, w := range j.workers {
		status, pid := plugins.HandleStopped, 0
		if slot, registered := j.slotOf(w); registered && !w.stale {
			switch s := j.m.Slots[slot]; {
			case s.Pid > 0:
				status, pid = plugins.HandleStarted, s.Pid
			case s.Pid < 0:
				status = plugins.HandleNotYetStarted
			}
		}
		if a := j.l.must(order{Do: "look", Handle: w.handle}); a.Status != status || a.Pid != pid {
			return fmt.Sprintf("the handle of %s says %v, %d; the model %v, %d", w.name, a.Status, a.Pid, status, pid)
		}
	}
	return ""
}

// shutdown ends the host, and compares all that it has logged of each worker
// with what the model said, in order.
func (j *judge) shutdown() {
	mode := rapid.SampledFrom([]lifecycle.Mode{lifecycle.Smart, lifecycle.Fast, lifecycle.Immediate}).Draw(j.rt, "mode")
	j.tell(func() { j.m.Shutdown(mode) })
	for !j.m.Exited {
		p := j.m.Processes[0]
		e := lifecycle.Exit{Code: 1, Clean: true, Ready: true}
		for _, w := range j.workers {
			if p.Worker == w.model {
				e = w.how.sigterm
			}
		}
		if mode == lifecycle.Immediate {
			e = lifecycle.Exit{Code: 2, Ready: true}
		}
		j.tell(func() { j.m.Exit(p, e) })
	}
	j.h.signal(map[lifecycle.Mode]unix.Signal{lifecycle.Smart: unix.SIGTERM, lifecycle.Fast: unix.SIGINT, lifecycle.Immediate: unix.SIGQUIT}[mode])
	if code := j.h.awaitExit(); code != 0 {
		j.rt.Fatalf("the host exited with code %d", code)
	}
	for _, w := range j.workers {
		for _, key := range []string{fmt.Sprintf("background worker process %q", w.name), fmt.Sprintf("registering background worker %q", w.name), fmt.Sprintf("background worker %q", w.model.Def.Type)} {
			if got, want := j.logged(key), j.predicted(key); !slices.Equal(got, want) {
				j.rt.Fatalf("the log says\n\t%s\nthe model\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
			}
		}
	}
}

// logged returns the host's own lines with a text in them.
func (j *judge) logged(text string) []string {
	var lines []string
	for _, line := range j.h.logLines() {
		if _, line, own := strings.Cut(line, fmt.Sprintf("[%d] ", j.h.pid())); own && strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// predicted returns the same as the model sees it, as lines of the log.
func (j *judge) predicted(text string) []string {
	var lines []string
	for _, line := range j.lines {
		if !strings.Contains(line, text) {
			continue
		}
		line = strings.Replace(line, "DEBUG1: ", "DEBUG:  ", 1)
		lines = append(lines, strings.Replace(line, "LOG: ", "LOG:  ", 1))
	}
	return lines
}
