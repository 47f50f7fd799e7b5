package host

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// children are the processes of the host and what starting one takes. The event
// loop owns it.
type children struct {
	spawner  *spawner
	segment  *shmem.Segment
	alarm    *shmem.Alarm
	lifeline [2]*os.File // the reading end is inherited, the writing end is never
	dir      *dataDir
	exe      string
	title    string // what every process title starts with
	env      []string
	stdout   *os.File // of all of them
	stderr   *os.File
	log      *elog.Logger
	post     func(any) // delivers an event to the loop, from any goroutine

	byID    map[postmaster.ChildID]*process
	records []bool // which process records are taken
}

// What the goroutines of children tell the event loop.
type (
	started struct {
		child   postmaster.ChildID
		index   int
		socket  *os.File
		startup handshake.Startup
		result  spawned
	}
	shakenHands struct {
		child postmaster.ChildID
		err   error
	}
	exited    struct{ child postmaster.ChildID }
	goneQuiet struct {
		child postmaster.ChildID
		err   error
	}
)

// executable is how the host starts itself again, even after its file has been
// replaced or removed.
const executable = "/proc/self/exe"

// start asks the spawner for a new process. The answer arrives as a started
// event, whatever happens.
//
// Library is what the child shall find its main function in, nil for one that
// is a part of the host.
func (c *children) start(id postmaster.ChildID, kind shmem.ProcKind, name string, startup handshake.Startup, library *libraryRequest) {
	// The event loop must not wait for room among its own events.
	fail := func(err error) { go c.post(started{child: id, index: -1, result: spawned{err: err}}) }
	index, ok := c.takeRecord(kind)
	if !ok {
		// There is a record for every slot, auxiliary process and preload child.
		fail(errors.New("no process record is free"))
		return
	}
	ours, theirs, err := newSocketPair()
	if err != nil {
		c.records[index] = false
		fail(err)
		return
	}
	startup.Protocol, startup.LayoutHash, startup.Kind, startup.Proc = handshake.ProtocolVersion, shmem.LayoutHash(), kind, index
	c.spawner.submit(spawnRequest{
		path: c.exe, title: c.title + name, env: c.env, dir: c.dir.path,
		files:   []*os.File{nil, c.stdout, c.stderr, c.segment.File(), c.lifeline[0], c.alarm.File(), theirs, c.dir.lock},
		library: library,
		done: func(result spawned) {
			_ = theirs.Close()
			if result.library != nil {
				startup.Library = &result.library.Library
			}
			c.post(started{child: id, index: index, socket: ours, startup: startup, result: result})
		},
	})
}

// takeRecord prepares a free process record, and with it the segment, for a new
// child, or reports false if there is none.
func (c *children) takeRecord(kind shmem.ProcKind) (index int, ok bool) {
	index = slices.Index(c.records, false)
	if index < 0 {
		return -1, false
	}
	c.records[index] = true
	c.segment.Proc(index).Reset(kind)
	if c.segment.WriteConstants() {
		c.log.Emit(elog.New(elog.Log, "", "the header of shared memory was overwritten").WithDetail("It has been restored."))
	}
	return index, true
}

// born takes the new process into the books: its exit is watched from now on.
// The child itself waits for its start-up message, which greet sends.
func (c *children) born(ev started) *process {
	if ev.result.err != nil {
		if ev.index >= 0 {
			c.records[ev.index] = false
			_ = ev.socket.Close()
		}
		return nil
	}
	p := &process{
		id: ev.child, pid: ev.result.pid, index: ev.index, record: c.segment.Proc(ev.index), socket: ev.socket,
		auxiliary: ev.startup.Auxiliary, preload: ev.startup.Kind == shmem.ProcPreload, library: ev.startup.Library, shaken: make(chan struct{}),
		pidfd: os.NewFile(uintptr(ev.result.pidfd), "pidfd"),
	}
	p.record.SetPid(p.pid)
	c.byID[p.id] = p
	go func() {
		if err := awaitExit(p.pidfd); err != nil {
			c.log.Logf(elog.Log, "could not watch process %d: %v", p.pid, err)
			awaitExitBlocking(p.pid)
		}
		p.awaitHandshake()
		c.post(exited{p.id})
	}()
	failpoint.Of(failpoint.Born, p.pid)
	return p
}

// greet shakes hands with a child, beside the event loop. Limit is how long
// loading an executable library may take.
func (c *children) greet(p *process, startup handshake.Startup, limit time.Duration) {
	if limit <= 0 || limit > handshakeLimit || p.library == nil || p.library.File == "" {
		limit = handshakeLimit
	}
	go func() {
		defer p.socket.Close()
		failpoint.Of(failpoint.Greeting, p.pid)
		c.post(shakenHands{p.id, shakeHands(p.socket, &startup, limit)})
		close(p.shaken)
	}()
}

// greeted notes how the handshake went. A child that failed it is put an end
// to.
func (c *children) greeted(id postmaster.ChildID, err error) {
	p := c.byID[id]
	switch {
	case p == nil:
	case err == nil:
		p.greeted()
	case isGone(err):
		time.AfterFunc(goneGrace, func() { c.post(goneQuiet{id, err}) })
	default:
		c.fail(id, err)
	}
}

func (c *children) fail(id postmaster.ChildID, err error) {
	if p := c.byID[id]; p != nil {
		p.failure = p.refused(err)
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
}

// buried takes a process that has exited out of the books and returns what the
// core wants to know about its end.
func (c *children) buried(id postmaster.ChildID) (postmaster.Exited, bool) {
	p := c.byID[id]
	if p == nil {
		return postmaster.Exited{}, false
	}
	failpoint.Of(failpoint.ExitSeen, p.pid)
	ev := c.lastWords(p) // before it is reaped: then, whoever waits for its lock may take it away
	if !ev.Clean || p.preload {
		// It could not see to what it has started, or an Init has, which nobody
		// has asked for. Until it is reaped, its pid can't be another group's.
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
	failpoint.Of(failpoint.LastWordsRead, p.pid)
	status, resident, err := reap(p.pid)
	failpoint.Of(failpoint.Reaped, p.pid)
	if err != nil {
		// Somebody else has reaped our child: all that is left to know is that
		// it is gone.
		c.log.Logf(elog.Log, "could not collect exit status of process %d: %v", p.pid, err)
		status = postmaster.ExitStatus{Code: 1}
	}
	ev.Status = status
	ev.Limit = p.limitMet(status, resident)
	if ev.Failure == nil && !p.preload && !p.answered && !status.Signaled && status.Code != 0 {
		// It has never been a child of ours, and can't have crashed as one: for
		// instance, the Go runtime had no memory or no thread to begin with.
		ev.Failure = p.refused(fmt.Errorf("it %s", status))
	}
	_ = p.pidfd.Close()
	c.forget(p)
	return ev, true
}

// lastWords is what shared memory says about a process that has exited.
func (c *children) lastWords(p *process) postmaster.Exited {
	ev := postmaster.Exited{
		Child: p.id, Pid: p.pid, Failure: p.failure,
		Ready: p.record.Ready(), Clean: p.record.Clean(), SQLState: p.record.ExitSQLState(), Message: p.record.ExitMessage(),
		Critical: c.segment.SlotLockHolder() == p.pid,
	}
	if !ev.Clean { // a process that ends in order was running nothing any more
		ev.Activity = p.record.Activity().Query
	}
	return ev
}

// forget frees the record of a process.
func (c *children) forget(p *process) {
	p.record.SetPid(0)
	c.records[p.index] = false
	delete(c.byID, p.id)
}

// poke sets the latch of an auxiliary process, if it runs.
func (c *children) poke(auxiliary string) {
	for _, p := range c.byID {
		if p.auxiliary == auxiliary {
			p.record.Latch().Set()
		}
	}
}
