package servermonitor

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// Name is what the host calls the process.
const Name = "server monitor"

// Register makes the process part of this program. Call it in main, before
// plugins.RunChild and host.Run.
func Register() { plugins.RegisterAuxiliary(Name, Main) }

// Main is the main function of the process. It returns when ctx ends, or with
// plugins.ErrPostmasterDied. Setting the process's latch makes it look at the
// server at once, over a new session, and publish what it finds, even if that is
// nothing new; SIGHUP makes it read the settings before.
func Main(ctx context.Context, w *plugins.Worker) error {
	m := &monitor{process: w, repair: func(ctx context.Context) { repairDatabases(ctx, w) }, prober: prober{limit: answerLimit}, machine: machine{jitter: rand.Float64}}
	return m.run(ctx)
}

// process is what the monitor needs of *plugins.Worker.
type process interface {
	WaitLatch(ctx context.Context, events plugins.WakeEvents, timeout time.Duration, ev plugins.WaitEvent) (plugins.WakeEvents, error)
	SetLatch()
	ResetLatch()
	ServerConninfo() string
	ConfigReloadPending() bool
	ProcessConfigFile()
	HasInterruptibleWorkers() bool
	TerminateBackgroundWorkersForDatabase(databaseOID uint32) int
	SetServerNews(text string)
	SetServerState(state shmem.ServerState, started time.Time)
	Ereport(e *elog.ErrorData)
}

// opener is prober, as far as the loop is concerned.
type opener interface {
	Open(ctx context.Context, conninfo string) (session, error)
}

// monitor is the loop: look, publish, log, wait.
type monitor struct {
	process process
	repair  func(ctx context.Context) // or nil; called when the server takes writes, which is news
	prober  opener
	machine machine

	conninfo string
	session  session // nil: none is open
	lost     error   // why the session was lost during the last wait
	poked    bool    // somebody wants to hear what this look finds, news or not
}

func (m *monitor) run(ctx context.Context) error {
	m.conninfo = m.process.ServerConninfo()
	defer m.drop()
	for {
		s := m.look(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m.process.SetServerNews(s.reason)
		if s.publish || m.poked {
			m.process.SetServerState(s.state, s.started)
		}
		if s.report != nil {
			m.process.Ereport(s.report)
		}
		if s.publish && s.state == shmem.ServerReadWrite && m.repair != nil {
			m.repair(ctx)
		}
		if err := m.wait(ctx, s.pause); err != nil {
			return err
		}
		if m.process.ConfigReloadPending() {
			m.reload()
		}
	}
}

// look finds out about the server, over the open session or a new one.
func (m *monitor) look(ctx context.Context) step {
	err := m.lost
	var found facts
	if err == nil && (m.session == nil || m.poked) {
		err = m.open(ctx)
	}
	if err == nil {
		found, err = m.session.Look(ctx)
	}
	m.lost = nil
	if err != nil {
		m.drop()
		return m.machine.failed(err)
	}
	return m.machine.found(found)
}

// open opens a session in the place of the one there is, if any. A worker's loss
// of its session asks for that: a server that shuts down, or restarts after a
// crash, lets nobody in from its first signal to a session on, but goes on
// answering over the sessions that it has not come to yet. One that is full, or
// does not want the monitor any more, is still the one that it was.
func (m *monitor) open(ctx context.Context) error {
	session, err := m.prober.Open(ctx, m.conninfo)
	switch {
	case err == nil:
		m.drop()
		m.session = session
	case m.session != nil && (!connect.IsServerEvent(err) || connect.SQLState(err) == elog.TooManyConnections):
		return nil
	}
	return err
}

// claimsPause is how often databases are looked at that commands claim, while
// interruptible workers run. Those commands wait for 5 seconds.
const claimsPause = time.Second

// wait passes the time until the next look: until the pause is over, the latch
// is set, or the session is lost. Meanwhile interruptible workers make room.
func (m *monitor) wait(ctx context.Context, pause time.Duration) error {
	for {
		stop := m.awaitLoss(ctx)
		rest, err := m.sleep(ctx, pause)
		stop()
		if m.lost != nil {
			m.process.ResetLatch() // it was for this
		}
		if rest == 0 || m.lost != nil || err != nil {
			return err
		}
		if m.lost = m.makeRoom(ctx); m.lost != nil {
			return nil
		}
		pause = rest
	}
}

// sleep waits, for the whole pause or until there may be room to make, and
// returns what is left of the pause: 0 also if the latch was set. One that is set
// as the pause ends stays set for the next wait.
func (m *monitor) sleep(ctx context.Context, pause time.Duration) (rest time.Duration, err error) {
	for {
		slice := min(pause, claimsPause)
		pause -= slice
		happened, err := m.process.WaitLatch(ctx, plugins.LatchSet|plugins.Timeout|plugins.PostmasterDeath, slice, waitEvent)
		if m.poked = happened&plugins.LatchSet != 0; m.poked {
			m.process.ResetLatch()
			pause = 0
		}
		if happened&plugins.PostmasterDeath != 0 {
			return 0, plugins.ErrPostmasterDied
		}
		if err != nil || pause == 0 || m.session != nil && m.process.HasInterruptibleWorkers() {
			return pause, err
		}
	}
}

// makeRoom ends the interruptible workers that are in the way of a command, and
// returns why the session was lost, if it was. A server that does not answer
// this question for another reason can't be helped here.
func (m *monitor) makeRoom(ctx context.Context) error {
	databases, err := m.session.ClaimedDatabases(ctx)
	if err != nil {
		if connect.IsServerEvent(err) {
			return err
		}
		return nil
	}
	for _, oid := range databases {
		if n := m.process.TerminateBackgroundWorkersForDatabase(oid); n > 0 {
			m.process.Ereport(roomReport(n, oid))
		}
	}
	return nil
}

var waitEvent = plugins.WaitEvent{Class: shmem.WaitClassActivity, Name: "ServerMonitorMain"}

// awaitLoss reads from the session, if there is one, until stop is called; the
// loss of the session sets the latch.
func (m *monitor) awaitLoss(ctx context.Context) (stop func()) {
	if m.session == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if m.lost = m.session.AwaitLoss(ctx); m.lost != nil {
			m.process.SetLatch()
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (m *monitor) reload() {
	m.process.ProcessConfigFile()
	conninfo := m.process.ServerConninfo()
	if conninfo == m.conninfo {
		return
	}
	m.conninfo, m.lost = conninfo, nil
	m.drop()
	m.machine.reconfigured()
}

func (m *monitor) drop() {
	if m.session != nil {
		m.session.Close()
	}
	m.session = nil
}
