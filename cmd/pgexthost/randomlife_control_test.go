package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// A setting on the command line, which outranks the file.
const (
	overriding      = "walk.value=77"
	overridingValue = 77
)

// randomOptions returns options of a host, and the arguments that pass them on.
func (w *walk) randomOptions() (options, args []string) {
	options = oneOf(w, nil, nil, []string{"-c", overriding}, []string{"-c", `log_line_prefix=%m [%p] it's "$1" `})
	for _, o := range options {
		args = append(args, "-o", "'"+strings.ReplaceAll(o, "'", `'\''`)+"'")
	}
	return options, args
}

// randomMode returns a way to stop.
func (w *walk) randomMode() string {
	mode := oneOf(w, "fast", "smart", "immediate")
	if mode != "immediate" || w.phase == absent || len(w.frozen) == 0 {
		return mode
	}
	if !w.isPatient() {
		return "fast"
	}
	w.waited++
	return mode
}

const (
	anotherText = "pgexthost: another server might be running; trying to start server anyway\n"
	gaveUpText  = "waiting for server to start... stopped waiting\n"
	failedText  = "waiting for server to shut down... failed\n"
)

// warning is what start says about a lock file.
func (w *walk) warning() string {
	if w.phase == absent && w.remains == nothing {
		return ""
	}
	return anotherText
}

// start is one start, in one of three ways.
func (w *walk) start(how string) {
	w.t.Helper()
	options, args := w.randomOptions()
	refused := w.countLogged(refusedText)
	r := w.run("start", append(args, how, "-l", w.log)...)
	switch warning := w.warning(); {
	case w.phase == absent && w.remains.refusesStart():
		w.expect(r, 1, "", w.complaint())
		return
	case how == "-W":
		w.expect(r, 0, "server starting\n", warning)
	case how == "-t0":
		w.expect(r, 1, gaveUpText, warning+"pgexthost: server did not start in time\n")
	case w.startable():
		w.expect(r, 0, startedText, warning)
	default:
		w.expect(r, 1, gaveUpText, warning+examine)
	}
	if !w.startable() { // a host that is just being executed does not look like one, nor like anything
		w.awaitLogged(refusedText, refused+1)
	}
	w.settle(options)
}

// runInForeground starts a host that is our child.
func runInForeground(w *walk) {
	options, _ := w.randomOptions()
	log, err := os.OpenFile(w.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close()
	cmd := w.program("run", options...)
	cmd.Stderr = log
	c := w.beginAs(cmd)
	if !w.startable() {
		w.expect(c.wait(), 1, "", "")
	}
	w.settle(options)
}

// stop is one stop that waits. While a child is stopped, it must be in vain.
func (w *walk) stop() {
	w.t.Helper()
	w.stopIn(w.randomMode())
}

func (w *walk) stopIn(mode string) {
	w.t.Helper()
	args, blocked := []string{"-m", mode}, w.blocks(mode)
	if blocked {
		args = append(args, oneOf(w, "-t0", "-t1"))
	}
	r := w.run("stop", args...)
	switch {
	case w.phase == absent:
		w.expect(r, 1, "", w.notSignalled("stop"))
	case blocked:
		w.expect(r, 1, failedText, doesNotStop(mode))
		w.phase = stopping
	default:
		w.expect(r, 0, stoppedText, "")
		w.stops()
	}
}

// blocks reports whether the host can't stop, because a child is stopped.
func (w *walk) blocks(mode string) bool {
	return w.phase != absent && len(w.frozen) > 0 && mode != "immediate"
}

func doesNotStop(mode string) string {
	return "pgexthost: server does not shut down" + hintFor(shutdownMode{name: mode}) + "\n"
}

// notSignalled is what commands say that find no host.
func (w *walk) notSignalled(purpose string) string {
	switch {
	case w.remains == nothing:
		return w.notRunning()
	case w.remains.unreadable():
		return w.complaint()
	}
	return fmt.Sprintf("pgexthost: could not send %s signal (PID: %d): No such process\n", purpose, w.pid)
}

func stopWithoutWaiting(w *walk) {
	w.expect(w.run("stop", "-W", "-m", w.randomMode()), 0, "server shutting down\n", "")
	w.stops()
}

// restart stops a host that runs, and starts it again.
func (w *walk) restart() {
	w.t.Helper()
	mode := w.randomMode()
	options, args := w.randomOptions()
	given := args != nil
	if !given {
		options = w.options
	}
	args, blocked := append(args, "-m", mode, "-l", w.log), w.blocks(mode)
	if blocked {
		args = append(args, "-t1")
	}
	before, problem := w.warningOfRestart(), w.optionsProblem(given)
	r := w.run("restart", args...)
	if w.phase == absent && w.remains.refusesStart() {
		w.expect(r, 1, "", w.complaint())
		return
	}
	if problem != "" {
		w.expect(r, 1, "", before+problem)
		return
	}
	if blocked {
		w.expect(r, 1, failedText, doesNotStop(mode))
		w.phase = stopping
		return
	}
	stopped := ""
	if w.phase != absent {
		stopped = stoppedText
		w.phase, w.frozen = absent, nil
	}
	if w.startable() {
		w.expect(r, 0, stopped+startedText, before)
	} else {
		w.expect(r, 1, stopped+gaveUpText, before+examine)
	}
	w.settle(options)
}

// warningOfRestart is what restart says when there is no host to stop.
func (w *walk) warningOfRestart() string {
	switch {
	case w.phase != absent:
		return ""
	case w.remains == nothing:
		return w.notRunning() + anyway
	case w.remains.isBlank():
		return w.complaint() + anyway
	}
	return fmt.Sprintf("pgexthost: old server process (PID: %d) seems to be gone\nstarting server anyway\n", w.pid)
}

// optionsProblem is what keeps a restart from knowing how the host was started.
func (w *walk) optionsProblem(given bool) string {
	name := filepath.Join(w.path, lockfile.OptsName)
	_, err := os.Lstat(name)
	switch {
	case w.optionFile || given && err != nil:
		return ""
	case err != nil:
		return "pgexthost: could not read file \"" + name + "\": No such file or directory\n"
	}
	return "pgexthost: option file \"" + name + "\" must have exactly one command line\n"
}

var (
	rereadText  = regexp.MustCompile(`LOG:  received SIGHUP, reloading configuration files\n`)
	errorsText  = regexp.MustCompile(`contains errors; `)
	refusedText = regexp.MustCompile(`FATAL:  (lock file|data directory|configuration file|could not|invalid)`)
)

// reload changes a value, if it can, and has the host read it. If the file is
// broken, the host must keep what it has.
func (w *walk) reload() {
	w.t.Helper()
	if w.phase == absent {
		w.expect(w.run("reload"), 1, "", w.notSignalled("reload"))
		return
	}
	if !w.broken {
		w.value++
		w.configure("")
	}
	read, complained := w.countLogged(rereadText), w.countLogged(errorsText)
	w.expect(w.run("reload"), 0, "server signaled\n", "")
	if w.phase != running {
		return
	}
	w.awaitLogged(rereadText, read+1)
	if w.broken {
		w.awaitLogged(errorsText, complained+1)
	} else if !w.overridden {
		w.inForce = w.value
	}
	w.until(limit, w.valueProblem)
}

func (w *walk) countLogged(text *regexp.Regexp) int {
	log, err := os.ReadFile(w.log)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	return len(text.FindAllIndex(log, -1))
}

func (w *walk) awaitLogged(text *regexp.Regexp, times int) {
	w.t.Helper()
	w.until(limit, func() string {
		if n := w.countLogged(text); n < times {
			return fmt.Sprintf("%q is in the log %d times, want %d", text, n, times)
		}
		return ""
	})
}

// signalHost tells the host itself to stop.
func signalHost(w *walk) {
	mode := w.randomMode()
	w.signal(map[string]unix.Signal{"smart": unix.SIGTERM, "fast": unix.SIGINT, "immediate": unix.SIGQUIT}[mode])
	if w.blocks(mode) {
		w.phase = stopping
		return
	}
	w.stops()
}

// signal sends a signal to the host.
func (w *walk) signal(sig unix.Signal) {
	w.note("  %v to %d", sig, w.pid)
	for _, p := range takeCensus(w.path).hosts {
		p.signal(sig)
	}
}

func killHost(w *walk) {
	pid := w.pid
	w.signal(unix.SIGKILL)
	w.dies()
	if w.remains != stale || w.pid != pid {
		w.t.Fatalf("the lock file is of kind %d, and names %d", w.remains, w.pid)
	}
}
