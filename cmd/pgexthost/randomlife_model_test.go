package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// phase is how a host is between two steps. Starting is none: steps wait until
// a start has led to something.
type phase int

const (
	absent   phase = iota
	running        // ready
	stopping       // told to stop, and waiting for a child that is stopped
)

// remains is what lies where the lock file goes while no host runs.
type remains int

const (
	nothing remains = iota
	stale           // names a process that is gone
	empty
	zeros
	garbage
)

// unreadable reports whether commands that look for a host refuse to go on at
// the sight of it.
func (r remains) unreadable() bool { return r >= empty }

// refusesStart reports whether even start does. What is blank names nobody, and
// the lock of the directory says that nobody is there.
func (r remains) refusesStart() bool { return r == garbage }

// isBlank reports whether it says nothing at all.
func (r remains) isBlank() bool { return r == empty || r == zeros }

// model is what should be so.
type model struct {
	phase   phase
	remains remains
	pid     int   // of the host, or in the lock file of one that was
	frozen  []int // children that are stopped

	options    []string // of the host that ran last, behind "run -D DIR"
	optionFile bool     // there is a good postmaster.opts
	value      int      // walk.value in the configuration file
	inForce    int      // in the running host
	overridden bool     // by an option
	broken     bool     // the configuration file is

	litter bool // a host was killed: not even it could take away its traces
}

// held reports whether stopped orphans keep the directory.
func (m *model) held() bool { return m.phase == absent && len(m.frozen) > 0 }

// startable reports whether nothing is in the way of a new host.
func (m *model) startable() bool {
	return m.phase == absent && !m.held() && !m.broken && !m.remains.refusesStart()
}

// orphanLimit is how long children may outlive their host: a second, and some
// for a busy machine.
const orphanLimit = 5 * time.Second

// check compares the world with the model. Nothing is on its way to another
// state now, except that workers come and go.
func (w *walk) check() {
	w.t.Helper()
	switch w.phase {
	case absent:
		w.checkAbsent()
	case running:
		w.checkRunning()
	case stopping:
		w.until(limit, func() string {
			c := takeCensus(w.path)
			if len(c.hosts) != 1 || c.hosts[0].pid != w.pid {
				return fmt.Sprintf("the host should be %d alone:\n%v", w.pid, c)
			}
			return w.lockFileProblem(lockfile.Stopping)
		})
	}
	w.until(limit, func() string { // a host that reloads writes one, and renames it
		if tmp := w.leftovers(".tmp"); len(tmp) > 0 && !w.litter {
			return fmt.Sprintf("left behind: %v", tmp)
		}
		return ""
	})
	w.checkStatus()
}

func (w *walk) checkStatus() {
	w.t.Helper()
	r := w.run("status")
	switch {
	case w.phase != absent:
		w.expect(r, 0, fmt.Sprintf("pgexthost: server is running (PID: %d)\n%s\n", w.pid, w.commandLine()), "")
	case w.remains.unreadable():
		w.expect(r, 1, "", w.complaint())
	default:
		w.expect(r, 3, "pgexthost: no server running\n", "")
	}
}

func (w *walk) commandLine() lockfile.Opts {
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return lockfile.Opts{Program: self, Args: append([]string{"run", "-D", w.path}, w.options...)}
}

// complaint is what commands say about a lock file that they can't read.
func (w *walk) complaint() string {
	name := filepath.Join(w.path, lockfile.Name)
	if w.remains == garbage {
		return fmt.Sprintf("pgexthost: invalid data in PID file \"%s\"\n", name)
	}
	return fmt.Sprintf("pgexthost: the PID file \"%s\" is empty\n", name)
}

func (w *walk) checkAbsent() {
	w.t.Helper()
	w.until(orphanLimit, func() string {
		c := takeCensus(w.path)
		// Whom a stopped process has started lives as long as that.
		c.grandchildren = slices.DeleteFunc(c.grandchildren, func(p proc) bool { return slices.Contains(w.frozen, p.parent) })
		living := slices.DeleteFunc(slices.Clone(c.children), func(p proc) bool { return slices.Contains(w.frozen, p.pid) && p.frozen })
		if len(c.hosts)+len(living)+len(c.grandchildren) > 0 || len(c.children) != len(w.frozen) {
			return fmt.Sprintf("nobody but %d should be left:\n%v", w.frozen, c)
		}
		return ""
	})
	if found := w.lookAtRemains(); found != w.remains {
		w.t.Fatalf("the lock file is of kind %d, want %d", found, w.remains)
	}
	for _, name := range []string{w.pidFile, filepath.Join(w.path, "config_exec_params"), filepath.Join(w.path, "libraries_exec_params")} {
		if _, err := os.Lstat(name); err == nil && !w.litter {
			w.t.Fatalf("left behind: %s", name)
		}
	}
}

func (w *walk) checkRunning() {
	w.t.Helper()
	w.until(limit, func() string {
		c := takeCensus(w.path)
		if len(c.hosts) != 1 || c.hosts[0].pid != w.pid {
			return fmt.Sprintf("the host should be %d alone:\n%v", w.pid, c)
		}
		return w.childrenProblem(c)
	})
	if problem := w.lockFileProblem(lockfile.Ready); problem != "" {
		w.t.Fatal(problem)
	}
	if text, err := os.ReadFile(w.pidFile); err != nil || string(text) != fmt.Sprintln(w.pid) {
		w.t.Fatalf("the external PID file says %q, %v, want %d", text, err, w.pid)
	}
	if problem := w.valueProblem(); problem != "" {
		w.t.Fatal(problem)
	}
}

// childrenProblem tells what is wrong with the children of the running host.
func (w *walk) childrenProblem(c census) string {
	seen := make(map[string]proc)
	for _, p := range c.children {
		if p.parent != w.pid {
			return fmt.Sprintf("%v is not the child of %d", p, w.pid)
		}
		if twin, twice := seen[p.title()]; twice {
			return fmt.Sprintf("%v runs beside %v", p, twin)
		}
		seen[p.title()] = p
	}
	for _, steady := range []string{walkWaiter, walkParent, "server monitor"} {
		if _, ok := seen[steady]; !ok {
			return fmt.Sprintf("%s does not run:\n%v", steady, c)
		}
	}
	if len(c.grandchildren) > 1 || len(c.grandchildren) == 1 && c.grandchildren[0].parent != seen[walkParent].pid {
		return fmt.Sprintf("more than the one child of %s:\n%v", walkParent, c)
	}
	return ""
}

func (w *walk) lockFileProblem(status lockfile.Status) string {
	c, err := lockfile.Read(w.path)
	if err != nil || c.Pid != w.pid || c.Status != status || c.DataDir != w.path {
		return fmt.Sprintf("the lock file says %q, %v, want pid %d and status %s", c, err, w.pid, status)
	}
	return ""
}

// valueProblem compares walk.value with what the host says it is.
func (w *walk) valueProblem() string {
	all, err := host.RunningSettings(w.path)
	i := slices.IndexFunc(all, func(s host.Setting) bool { return s.Name == "walk.value" })
	if i < 0 || all[i].Value != strconv.Itoa(w.inForce) {
		return fmt.Sprintf("the settings in force are %v, %v, want walk.value = %d", all, err, w.inForce)
	}
	return ""
}
