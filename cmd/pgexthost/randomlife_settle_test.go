package main

import (
	"fmt"
	"slices"

	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// settle waits until the attempt to start a host has come to what the model
// says it must. The options are those behind "run -D DIR".
func (w *walk) settle(options []string) {
	w.t.Helper()
	switch {
	case w.startable():
		w.becomesReady(options)
	case w.phase == absent:
		w.nobodyIsLeft()
		if w.held() {
			w.waited++
		} else if !w.remains.refusesStart() {
			w.remains = nothing // it found the configuration broken when the directory was its own
		}
	default:
		w.until(limit, func() string {
			if hosts := takeCensus(w.path).hosts; len(hosts) != 1 {
				return fmt.Sprintf("hosts %v, want one", hosts)
			}
			return ""
		})
	}
}

// becomesReady waits for the host that must come.
func (w *walk) becomesReady(options []string) {
	w.t.Helper()
	w.until(limit, func() string {
		hosts := takeCensus(w.path).hosts
		if len(hosts) != 1 {
			return fmt.Sprintf("hosts %v, want one", hosts)
		}
		w.pid = hosts[0].pid
		return w.lockFileProblem(lockfile.Ready)
	})
	w.phase, w.remains, w.litter = running, nothing, false
	w.options, w.optionFile = options, true
	w.overridden = slices.Contains(options, overriding)
	w.inForce = w.value
	if w.overridden {
		w.inForce = overridingValue
	}
}

// nobodyIsLeft waits until no host is there.
func (w *walk) nobodyIsLeft() {
	w.t.Helper()
	w.until(limit, func() string {
		if hosts := takeCensus(w.path).hosts; len(hosts) > 0 {
			return fmt.Sprintf("hosts %v, want none", hosts)
		}
		return ""
	})
}

// stops waits for the end of a host that takes its traces away.
func (w *walk) stops() {
	w.t.Helper()
	w.nobodyIsLeft()
	w.phase, w.remains = absent, nothing
	w.frozen = nil // it has waited for them, or killed them
}

// dies waits for the end of a host that was killed, at a moment that is not
// known. It may have been no further than to read this.
func (w *walk) dies() {
	w.t.Helper()
	w.nobodyIsLeft()
	w.phase, w.litter = absent, true
	w.findRemains(w.remains)
	w.findOptions()
}

// fails waits for the end of a host that was told to end while it was starting,
// perhaps before it could do so in good order.
func (w *walk) fails() {
	w.t.Helper()
	w.nobodyIsLeft()
	before, pid := w.remains, w.pid
	w.findRemains(w.remains)
	if w.remains != nothing && (w.remains != before || w.pid != pid) {
		w.t.Fatalf("the lock file is of kind %d with pid %d; before it was %d with %d", w.remains, w.pid, before, pid)
	}
	w.findOptions()
}

// findRemains adopts what lies where the lock file goes. If it can't be read, it
// must be what it was.
func (w *walk) findRemains(before remains) {
	w.t.Helper()
	w.remains = w.lookAtRemains()
	if w.remains.unreadable() && w.remains != before {
		w.t.Fatalf("the lock file is of kind %d, before it was %d", w.remains, before)
	}
}

// findOptions adopts the options in postmaster.opts.
func (w *walk) findOptions() {
	opts, err := lockfile.ReadOpts(w.path)
	w.optionFile = w.optionFile || err == nil
	if err == nil && len(opts.Args) >= 3 {
		w.options = opts.Args[3:]
	} else if w.optionFile {
		w.t.Fatalf("the options have become %v, %v", opts, err)
	}
}
