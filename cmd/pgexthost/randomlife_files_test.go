package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// file is a path in the data directory.
func (w *walk) file(name string) string { return filepath.Join(w.path, name) }

func (w *walk) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.file(name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// configure writes the configuration file, with a line that may be wrong. What
// is wrong in the syntax keeps even what is right from being applied.
func (w *walk) configure(last string) {
	w.t.Helper()
	value := w.value
	if last == syntaxError {
		value++
	}
	w.broken = last != ""
	w.write("pgexthost.conf", fmt.Sprintf(`server_conninfo = 'host=/nonexistent'
shared_preload_libraries = '%s'
external_pid_file = '%s'
log_line_prefix = '%%m [%%p] '
walk.value = %d
%s
`, walkLibraryName, w.pidFile, value, last))
}

const syntaxError = "walk.value = = 3"

func breakConfig(w *walk) {
	w.configure(oneOf(w, syntaxError, "worker_stop_timeout = many", "max_worker_processes = 0x", "include 'nowhere'"))
}

func (w *walk) repairConfig() { w.configure("") }

func (w *walk) showConfig() result {
	w.t.Helper()
	return w.beginAs(program("config", "show", "-D", w.path, "walk.value")).wait()
}

// showConfig asks for the value that is in force, or would be.
func showConfig(w *walk) {
	r := w.showConfig()
	switch {
	case w.phase == absent && w.broken: // what is left of it is another matter
		if !strings.HasPrefix(r.stderr, wouldStartWithText) {
			w.t.Fatalf("got %+v", r)
		}
		return
	case w.phase == absent && r.stderr != wouldStartWithText,
		w.phase != absent && r.stderr != "":
		w.t.Fatalf("got %+v", r)
	}
	value := w.value
	if w.phase == running {
		value = w.inForce
	}
	if line, _, _ := strings.Cut(r.stdout, "\n"); r.code != 0 || w.phase != stopping && line != fmt.Sprintf("walk.value = %d", value) {
		w.t.Fatalf("got %+v, want %d", r, value)
	}
}

const wouldStartWithText = "pgexthost: no server running, showing what it would start with\n"

// lookAtRemains tells what lies where the lock file goes, and whom it names.
func (w *walk) lookAtRemains() remains {
	text, err := os.ReadFile(w.file(lockfile.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nothing
	}
	if err != nil {
		w.t.Fatal(err)
	}
	switch {
	case len(text) == 0:
		return empty
	case strings.Trim(string(text), "\x00") == "":
		return zeros
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		return garbage
	}
	w.pid = pid
	return stale
}

// leave puts something where the lock file goes.
func (w *walk) leave(r remains) {
	w.t.Helper()
	w.note("  lock file of kind %d", r)
	w.remains = r
	switch r {
	case stale:
		w.pid = oneOf(w, deadPid(w.t), w.other) // a live process that has started later
		w.writeLockFile(w.t, w.pid)
	case empty:
		w.write(lockfile.Name, "")
	case zeros:
		w.write(lockfile.Name, strings.Repeat("\x00", 100))
	case garbage:
		w.write(lockfile.Name, "This is no lock file.\n")
	case nothing:
		w.removeLockFile()
	}
}

func spoilLockFile(w *walk) { w.leave(oneOf(w, stale, stale, empty, zeros, garbage)) }

func (w *walk) removeLockFile() {
	w.t.Helper()
	if err := os.Remove(w.file(lockfile.Name)); err != nil {
		w.t.Fatal(err)
	}
	w.remains = nothing
}

var invalidText = regexp.MustCompile(`performing immediate shutdown because data directory lock file is invalid\n`)

// takeLockFile takes the lock file from a host, which then must end. Reload
// would not find it any more.
func takeLockFile(w *walk) {
	before := w.countLogged(invalidText)
	w.removeLockFile()
	w.expect(w.run("reload"), 1, "", w.notRunning())
	w.signal(unix.SIGHUP)
	w.stops()
	w.awaitLogged(invalidText, before+1)
}

// replaceLockFile makes the lock file another's. It must be left alone.
func replaceLockFile(w *walk) {
	before, pid := w.countLogged(invalidText), w.pid
	w.leave(oneOf(w, stale, garbage))
	left, other := w.remains, w.pid
	w.pid = pid
	w.signal(unix.SIGHUP)
	w.stops()
	w.remains, w.pid = left, other
	w.awaitLogged(invalidText, before+1)
}

// spoilOptions leaves no options to restart with.
func spoilOptions(w *walk) {
	w.optionFile = false
	if junk := oneOf(w, "", "\"", "\x00\x00\x00\x00", "-"); junk != "-" {
		w.write(lockfile.OptsName, junk)
		return
	}
	if err := os.Remove(w.file(lockfile.OptsName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
}
