package launcher

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// row is a live request as the table has it.
type row struct {
	ID        int64
	Number    int64 // of its registrations, see numberOf
	Started   bool  // its state: pending if not
	Terminate bool  // somebody has asked for its end
	Worker    plugins.BackgroundWorker
	Refusal   string // why it can't be a worker at all, or empty

	Ours     bool // this host, this incarnation, this database have started it
	Foreign  bool // what started it is in the database that this one is a copy of
	Handle   string
	Pid      int
	SQLState string
	Message  string
}

// restarts reports whether another incarnation of the host starts it again.
func (r row) restarts() bool { return r.Worker.RestartTime >= 0 && !r.Terminate }

// asksFor reports whether a worker with the row's number is what the row asks for.
// Otherwise it is of former tables, which were dropped while no launcher ran: their
// requests had the same numbers.
func (r row) asksFor(w plugins.WorkerInfo) bool {
	is, want := w.Entry, r.Worker
	same := func(is, want string) bool { return strings.HasPrefix(shmem.SafeText(want), is) } // which may have been cut
	return same(is.Name, want.Name) && same(is.Type, cmp.Or(want.Type, want.Name)) && same(is.LibraryName, want.LibraryName) && same(is.FunctionName, want.FunctionName) &&
		is.MainArg == want.MainArg && is.Extra == want.Extra
}

// what is what has to be done about a request.
type what int

const (
	nothing   what = iota
	register       // register it held
	claim          // commit that it has started, with the worker's handle and pid
	release        // let its main run
	terminate      // end its worker
	note           // write down pid, SQLSTATE and message
	settle         // it is done with
)

// step is the next thing to do about a request.
type step struct {
	do     what
	worker plugins.WorkerInfo // of claim, release, terminate
	state  string             // of settle

	pid            int
	exitCode       *int // nil: not known, or a signal
	sqlstate, text string
}

// host is what there is in the host, as far as it is a database's.
type host struct {
	workers map[int64][]plugins.WorkerInfo // by the number of the request
	gone    map[int64]plugins.UnregisteredWorker
	// begun reports whether the main function of a handle may have begun.
	begun func(handle string) bool
}

// mayHaveBegun reports whether the request's main function may have run already.
func (h host) mayHaveBegun(r row) bool { return r.Foreign || h.begun(r.Handle) }

// attempt is what a launcher remembers of a registration that it has made.
type attempt struct {
	at    time.Time
	tries int // registrations whose process came to nothing before main
}

const (
	tryAgain  = time.Second // after a registration that came to nothing
	mostTries = 10
	// What becomes of a worker is written down before its slot is released, but a
	// look at both takes a moment.
	lookAgain = 500 * time.Millisecond
)

// plan returns the next step for a request. Since is how long its worker has been
// missing.
func (h host) plan(r row, a attempt, now time.Time, since time.Duration) step {
	switch {
	case r.Started && r.Ours:
		return h.planStarted(r, a, now, since)
	case r.Started && r.Terminate:
		return step{do: settle, state: "ended"}
	case r.Started && !r.restarts() && h.mayHaveBegun(r):
		return step{do: settle, state: "failed", sqlstate: string(elog.CrashShutdown), text: "the host ended while the worker ran"}
	}
	return h.planPending(r, a, now)
}

// planPending is for a request that is to be started: one that never was, whose
// main has not begun, or that was started by an earlier incarnation and restarts.
func (h host) planPending(r row, a attempt, now time.Time) step {
	if workers := h.workers[r.Number]; len(workers) > 0 {
		switch w := workers[0]; {
		case w.Terminated || w.State == plugins.WorkerStopped || !r.asksFor(w): // until it is gone
		case w.Pid > 0:
			// Also one that was released already: then the table has lost the
			// transaction that said so.
			return step{do: claim, worker: w, pid: w.Pid}
		case w.Message != "" && w.Message != r.Message:
			return step{do: note, pid: r.Pid, sqlstate: string(w.SQLState), text: w.Message}
		}
		return step{}
	}
	switch {
	case r.Refusal != "":
		return step{do: settle, state: "failed", sqlstate: string(elog.InvalidParameterValue), text: r.Refusal}
	case a.at.IsZero():
		return step{do: register}
	}
	if g, ok := h.gone[r.Number]; ok && !g.At.Before(a.at) {
		if permanent(g) || a.tries >= mostTries && !g.Started.IsZero() {
			return failed(g)
		}
	}
	if now.Sub(a.at) < tryAgain {
		return step{}
	}
	return step{do: register}
}

// permanent reports whether a worker that never got to its main would not get
// there the next time either: it has no program, no library or no function.
func permanent(g plugins.UnregisteredWorker) bool {
	return !g.Terminated && !g.LostServer && g.ExitSignal == 0 && g.Message != ""
}

// planStarted is for a request that this incarnation has started.
func (h host) planStarted(r row, a attempt, now time.Time, since time.Duration) step {
	for _, w := range h.workers[r.Number] {
		switch {
		case w.Handle.String() != r.Handle:
			continue
		case r.Terminate && !w.Terminated:
			return step{do: terminate, worker: w}
		case w.Held && !r.Terminate:
			return step{do: release, worker: w}
		case w.Pid > 0 && w.Pid != r.Pid:
			return step{do: note, pid: w.Pid, sqlstate: string(w.SQLState), text: w.Message}
		case w.State == plugins.WorkerWaiting && w.Message != r.Message:
			return step{do: note, pid: r.Pid, sqlstate: string(w.SQLState), text: w.Message}
		}
		return step{}
	}
	g, ok := h.gone[r.Number]
	switch {
	case !ok && since < lookAgain:
		return step{}
	case !r.Terminate && !g.Terminated && !h.mayHaveBegun(r): // whoever was killed, it was too early
		return h.planPending(r, a, now)
	case !ok: // too many have gone since
		return step{do: settle, state: "ended"}
	}
	return ended(r, g)
}

// ended says what has become of a worker.
func ended(r row, g plugins.UnregisteredWorker) step {
	if r.Terminate || g.Terminated || g.ExitSignal == 0 && g.ExitCode == 0 && !g.LostServer {
		s := step{do: settle, state: "ended"}
		if g.ExitSignal == 0 {
			s.exitCode = &g.ExitCode
		}
		return s
	}
	return failed(g)
}

func failed(g plugins.UnregisteredWorker) step {
	s := step{do: settle, state: "failed", sqlstate: string(g.SQLState), text: g.Message}
	switch {
	case g.ExitSignal != 0 && s.text == "":
		s.text = fmt.Sprintf("it was terminated by signal %d: %s", int(g.ExitSignal), unix.SignalName(g.ExitSignal))
	case g.ExitSignal == 0:
		s.exitCode = &g.ExitCode
		if s.text == "" {
			s.text = fmt.Sprintf("it exited with exit code %d", g.ExitCode)
			if g.ExitCode == 1 { // an error would have left its words
				s.sqlstate, s.text = string(elog.AdminShutdown), "terminated by an administrator's command"
			}
		}
	}
	if s.sqlstate == "" {
		s.sqlstate = string(elog.InternalError)
	}
	return s
}

// strays returns the workers that no row stands for: what the tables do not say
// must not run.
func (h host) strays(rows []row) []plugins.WorkerInfo {
	wanted := make(map[int64]row, len(rows))
	for _, r := range rows {
		wanted[r.Number] = r
	}
	var strays []plugins.WorkerInfo
	for number, workers := range h.workers {
		keep := -1
		if r, live := wanted[number]; live {
			keep = workerOf(r, workers)
		}
		for i, w := range workers {
			if i != keep && !w.Terminated && w.State != plugins.WorkerStopped {
				strays = append(strays, w)
			}
		}
	}
	return strays
}

// workerOf returns which worker is a live request's, or -1: that of its handle; or
// the first, if it may still be claimed.
func workerOf(r row, workers []plugins.WorkerInfo) int {
	if r.Started && r.Ours {
		if i := slices.IndexFunc(workers, func(w plugins.WorkerInfo) bool { return w.Handle.String() == r.Handle }); i >= 0 {
			return i
		}
	}
	if r.Started && !r.restarts() && !workers[0].Held || !r.asksFor(workers[0]) {
		return -1
	}
	return 0
}
