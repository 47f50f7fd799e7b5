package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// moment waits for a random while, which is rather short than long, and for the
// end of the command at most.
func (c *begun) moment() {
	atMost := time.Duration(oneOf(c.w, 2, 10, 30, 100, 300)) * time.Millisecond
	select {
	case <-time.After(time.Duration(c.w.rng.Int64N(int64(atMost)))):
	case <-c.ended:
	}
}

var flux = regexp.MustCompile(`^(pgexthost: no server running\n|pgexthost: server is running \(PID: \d+\)\n(.* "run" .*\n)?)$`)

// lookInFlux may ask for the status, or the settings, while a host comes or
// goes. Each answer is right, but there must be one.
func (w *walk) lookInFlux() {
	w.t.Helper()
	switch w.rng.IntN(6) {
	case 0:
		if r := w.run("status"); r.stderr != "" || r.code != 0 && r.code != 3 || !flux.MatchString(r.stdout) {
			w.t.Fatalf("got %+v", r)
		}
	case 1:
		if r := w.showConfig(); r.code != 0 || r.stderr != "" && r.stderr != wouldStartWithText {
			w.t.Fatalf("got %+v", r)
		}
	}
}

// until waits until something is so, or the command has ended.
func (c *begun) until(problem string, isSo func() bool) {
	c.w.until(limit, func() string {
		select {
		case <-c.ended:
			return ""
		default:
		}
		if isSo() {
			return ""
		}
		return problem
	})
}

// beginStart begins a start that waits, and returns when a host has appeared
// and lived for a random while.
func (w *walk) beginStart() *begun {
	c := w.begin("start", "-l", w.log)
	c.until("no host", func() bool { return len(takeCensus(w.path).hosts) > 0 })
	c.moment()
	return c
}

// expectEither accepts that a start has succeeded or failed.
func (w *walk) expectEither(r result, warning string) {
	w.t.Helper()
	if r.code == 0 {
		w.expect(r, 0, startedText, warning)
	} else {
		w.expect(r, 1, gaveUpText, warning+examine)
	}
}

func killDuringStart(w *walk) {
	warning := w.warning()
	c := w.beginStart()
	w.lookInFlux()
	w.signal(unix.SIGKILL)
	w.expectEither(c.wait(), warning)
	w.dies()
}

func signalDuringStart(w *walk) {
	warning := w.warning()
	c := w.beginStart()
	sig := oneOf(w, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT)
	if sig == unix.SIGQUIT { // without a handler, Go programs dump their stacks
		c.until("no lock file of a live host", func() bool {
			contents, err := lockfile.Read(w.path)
			if err != nil {
				return false
			}
			p, err := contents.Holder()
			if err == nil {
				p.Close()
			}
			return err == nil
		})
	}
	w.signal(sig)
	w.lookInFlux()
	w.expectEither(c.wait(), warning)
	w.fails()
}

// interruptStart presses Ctrl-C.
func interruptStart(w *walk) {
	warning := w.warning()
	c := w.begin("start", "-l", w.log)
	c.moment()
	if err := c.cmd.Process.Signal(unix.SIGINT); err != nil {
		w.note("  too late: %v", err)
	}
	r := c.wait()
	if r.stdout == startedText { // perhaps it was hit while it was leaving
		w.becomesReady(nil)
		return
	}
	if r.code != -1 || r.stderr != "" && r.stderr != warning {
		w.t.Fatalf("got %+v", r)
	}
	w.fails()
}

// warningIn is the warning that a start has given, or not: it depends on how
// far another command was.
func warningIn(r result) string {
	if strings.HasPrefix(r.stderr, anotherText) {
		return anotherText
	}
	return ""
}

// startTwice starts two hosts at the same moment, of which one at most may live.
func startTwice(w *walk) {
	a, b := w.begin("start", "-l", w.log), w.begin("start", "-l", w.log)
	results := []result{a.wait(), b.wait()}
	if w.phase == absent && w.remains.refusesStart() {
		w.expect(results[0], 1, "", w.complaint())
		w.expect(results[1], 1, "", w.complaint())
		return
	}
	started := 0
	for _, r := range results {
		w.expectEither(r, warningIn(r))
		if r.code == 0 {
			started++
		}
	}
	if want := map[bool]int{true: 1}[w.startable()]; started != want {
		w.t.Fatalf("%d hosts were started, want %d", started, want)
	}
	w.settle(nil)
}

// startDuringStop starts a host while another one is on its way out.
func startDuringStop(w *walk) {
	a := w.begin("stop", "-m", w.randomMode())
	a.moment()
	b := w.begin("start", "-l", w.log)
	if !w.broken {
		w.lookInFlux()
	}
	w.expect(a.wait(), 0, stoppedText, "")
	r := b.wait()
	w.expectEither(r, warningIn(r))
	if r.code == 0 {
		w.becomesReady(nil)
	} else {
		w.stops()
	}
}

func stopTwice(w *walk) {
	pid := w.pid
	a := w.begin("stop", "-m", w.randomMode())
	a.moment()
	b := w.begin("stop", "-m", w.randomMode())
	results := []result{a.wait(), b.wait()}
	slices.SortFunc(results, func(a, b result) int { return a.code - b.code })
	w.expect(results[0], 0, stoppedText, "")
	switch late := results[1]; late.stderr {
	case "":
		w.expect(late, 0, stoppedText, "")
	case w.notRunning():
		w.expect(late, 1, "", late.stderr)
	default:
		w.expect(late, 1, "", fmt.Sprintf("pgexthost: could not send stop signal (PID: %d): No such process\n", pid))
	}
	w.stops()
}

func killDuringStop(w *walk) {
	pid := w.pid
	c := w.begin("stop", "-m", w.randomMode())
	c.moment()
	w.signal(unix.SIGKILL)
	if !w.broken {
		w.lookInFlux()
	}
	switch r := c.wait(); {
	case r.code == 0:
		w.expect(r, 0, stoppedText, "")
	case r.stdout == "": // killed before it was told to stop
		w.expect(r, 1, "", fmt.Sprintf("pgexthost: could not send stop signal (PID: %d): No such process\n", pid))
	default:
		w.expect(r, 1, failedText, fmt.Sprintf("pgexthost: server process (PID: %d) died before it had shut down\n", pid))
	}
	w.dies()
}

// restartTwice restarts the same host twice at the same moment. Each may spoil
// the other's work, but in the end there is one host.
func restartTwice(w *walk) {
	a := w.begin("restart", "-m", w.randomMode(), "-l", w.log)
	a.moment()
	b := w.begin("restart", "-m", w.randomMode(), "-l", w.log)
	if first, second := a.wait(), b.wait(); first.code != 0 && second.code != 0 && !w.broken {
		w.t.Fatalf("got %+v and %+v", first, second)
	}
	w.stopsForRestart()
}

// stopsForRestart settles after restarts of a host that was running.
func (w *walk) stopsForRestart() {
	w.t.Helper()
	w.phase = absent
	w.settle(w.options)
}

func killDuringRestart(w *walk) {
	c := w.begin("restart", "-m", w.randomMode(), "-l", w.log)
	c.moment()
	before := takeCensus(w.path).hosts
	for _, p := range before {
		p.signal(unix.SIGKILL)
	}
	r := c.wait()
	w.until(limit, func() string {
		for _, p := range takeCensus(w.path).hosts {
			if slices.ContainsFunc(before, func(old proc) bool { return old.pid == p.pid }) {
				return fmt.Sprintf("%v lives on", p)
			}
		}
		return ""
	})
	// The lock file tells the new host from what the old one has just forked,
	// which looks like it, and has lost its parent.
	holder, err := lockfile.Read(w.path)
	isHolder := func(p proc) bool { return err == nil && p.pid == holder.Pid }
	if r.code == 0 && slices.ContainsFunc(takeCensus(w.path).hosts, isHolder) {
		w.stopsForRestart()
		return
	}
	w.dies()
}

// killChild kills a child, of which the host has to think.
func killChild(w *walk) {
	children := takeCensus(w.path).children
	children = slices.DeleteFunc(children, func(p proc) bool { return p.parent != w.pid })
	if len(children) == 0 {
		return
	}
	w.kill(oneOf(w, children...))
}

func (w *walk) kill(p proc) {
	w.note("  kill %v", p)
	p.signal(unix.SIGKILL)
	w.until(limit, func() string {
		if hasEnded(p.pid) {
			return ""
		}
		return fmt.Sprintf("%v lives on", p)
	})
	if i := slices.Index(w.frozen, p.pid); i >= 0 {
		w.frozen = slices.Delete(w.frozen, i, i+1)
	}
	if w.phase == stopping && len(w.frozen) == 0 {
		w.stops()
	}
}

// freezeChild stops a child, as a debugger does.
func freezeChild(w *walk) {
	children := takeCensus(w.path).children
	children = slices.DeleteFunc(children, func(p proc) bool { return p.parent != w.pid || p.frozen })
	if len(children) == 0 {
		return
	}
	p := oneOf(w, children...)
	w.note("  freeze %v", p)
	p.signal(unix.SIGSTOP)
	w.until(limit, func() string {
		if hasEnded(p.pid) {
			return ""
		}
		if slices.ContainsFunc(takeCensus(w.path).children, func(q proc) bool { return q.pid == p.pid && q.frozen }) {
			w.frozen = append(w.frozen, p.pid)
			return ""
		}
		return fmt.Sprintf("%v is not stopped", p)
	})
}

// thaw lets all children go on.
func (w *walk) thaw() {
	for _, p := range takeCensus(w.path).children {
		if slices.Contains(w.frozen, p.pid) {
			p.signal(unix.SIGCONT)
		}
	}
	w.frozen = nil
	if w.phase == stopping {
		w.stops()
	}
}

// killFrozen kills a stopped child. One that has lost its host has nobody who
// ends what it has started, either.
func killFrozen(w *walk) {
	victim := oneOf(w, w.frozen...)
	c := takeCensus(w.path)
	for _, p := range c.grandchildren {
		if w.phase == absent && p.parent == victim {
			p.signal(unix.SIGKILL)
		}
	}
	for _, p := range c.children {
		if p.pid == victim {
			w.kill(p)
		}
	}
}
