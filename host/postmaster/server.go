package postmaster

import (
	"slices"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// server is what the monitor said last.
type server struct {
	state   shmem.ServerState
	started time.Time // of the server that was reached last; zero: none was
}

func (s *server) reachable() bool { return isReachable(s.state) }

// isReachable reports whether a server lets sessions in: it is consistent.
func isReachable(s shmem.ServerState) bool {
	return s == shmem.ServerStandby || s == shmem.ServerReadWrite
}

// loss is a worker's end that was an event of the server and not a crash of
// the worker (SPEC 5 and 11). What became of it, the next news of a server
// that can be reached decides.
type loss int

const (
	notLost     loss = iota
	lostSession      // its session ended with the server, or by it
	lostOrTold       // 57P01 from a server that seemed to live: perhaps a SIGTERM
	lostNoRoom       // 53300: the server had no session for it
)

// lossOf says which loss, if any, ended a worker. A worker that asked for no
// database connection has no server to lose.
func (m *Machine) lossOf(w *worker, ev Exited) loss {
	if m.phase != phaseRun || w.terminate || w.def.Flags&plugins.BackendDatabaseConnection == 0 ||
		ev.Failure != nil || ev.Status.Signaled || ev.Status.Code != 1 {
		return notLost
	}
	switch code := elog.SQLState(ev.SQLState); {
	case code == elog.TooManyConnections:
		return lostNoRoom
	case code == elog.AdminShutdown && m.server.reachable():
		return lostOrTold
	case code.IsServerEvent():
		return lostSession
	}
	return notLost
}

// pokeMonitor makes the monitor look at the server now. One that has no
// process yet will look, and publish, when it has.
func (m *Machine) pokeMonitor() {
	i := slices.IndexFunc(m.auxiliaries, func(a *auxiliary) bool { return a.name == ServerMonitor })
	if i >= 0 && m.auxiliaries[i].child != nil && m.auxiliaries[i].child.pid != 0 {
		m.emit(Poke{Aux: ServerMonitor})
	}
}

func (ev ServerStateChanged) apply(m *Machine) {
	m.server.state = ev.State
	if !m.server.reachable() {
		for _, w := range m.workers {
			if w.lost == lostOrTold {
				w.lost = lostSession
			}
		}
		return
	}
	before := m.server.started
	if !ev.Started.IsZero() {
		m.server.started = ev.Started
	}
	restarted := !before.IsZero() && !before.Equal(m.server.started)
	for _, w := range m.workers {
		if restarted && w.static {
			w.crashedAt = time.Time{} // static workers start with their server
			m.touch(w)
		}
		m.judge(w)
	}
}

// longestLossDelay bounds the delay, which doubles, before a worker starts again
// that keeps losing a server which is there all the time, or has no room for
// it. It is BGW_DEFAULT_RESTART_INTERVAL. A worker that has run for that long
// has overcome what it suffered from.
const longestLossDelay = plugins.DefaultRestartInterval * time.Second

// judge decides about a worker that lost the server, now that there is one
// again. If it is another than the worker knew, static workers start and
// never-restart dynamic ones are forgotten, as in a restart of PostgreSQL. If
// it is the same, PostgreSQL's rule for crashes applies: all never-restart
// workers are forgotten, the others start; that includes the case that the
// server was never away and only the worker's connection broke. A 53300 is
// judged like a restart either way, because the worker had no session that
// could have been lost. A 57P01 from a server that was there all the time was a
// SIGTERM to that worker, and an exit 1 like any other.
func (m *Machine) judge(w *worker) {
	lost := w.lost
	if lost == notLost {
		return
	}
	w.lost = notLost
	m.touch(w)
	same := w.session.Equal(m.server.started)
	asRestart := !same || lost == lostNoRoom
	switch {
	case lost == lostOrTold && same,
		w.neverRestarts() && (!w.static || !asRestart):
		w.crashedAt = w.lostAt // the launch pass does what is due after a crash
	default:
		if !same {
			w.losses = 0
		}
		w.losses++
		w.notBefore = w.lostAt.Add(lossDelay(w.losses))
	}
}

// lossDelay is how long after a loss a worker waits that has lost the server
// this often: not at all the first time, then 1 s, 2 s, 4 s and so on.
func lossDelay(losses int) time.Duration {
	if losses <= 1 {
		return 0
	}
	return min(restartFloor<<min(losses-2, 10), longestLossDelay)
}
