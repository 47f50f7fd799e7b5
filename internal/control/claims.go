package control

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// claims are the registrations of static workers that have come with a reload.
// The postmaster announces them, and this process, which can take slots, registers
// them: whether or not the client is still there that has asked for the reload, and
// also what was announced to another control server, which has died since.
type claims struct {
	worker process

	mu     sync.Mutex
	known  bool                // the announcements were read
	reload uint64              // after which that was, or 0
	gone   []ReloadedWorker    // that this one has unregistered: they make room
	open   []AnnouncedWorker   // that are to be registered
	made   map[uint64]*claimed // the others that have been seen here, by number
}

// claimed is the outcome of a claim: a registration, or why there is none.
type claimed struct {
	handle plugins.Handle
	err    error
	at     time.Time // when it was made
}

// noticed reports whether the postmaster has seen the registration: until then,
// what the slot tells is the past of the worker that had it before.
func (c *claimed) noticed(row plugins.WorkerInfo) bool {
	return !row.Registered.Before(c.at.Truncate(time.Microsecond))
}

func newClaims(w process) *claims { return &claims{worker: w, made: make(map[uint64]*claimed)} }

// run registers what is announced, until ctx ends.
func (c *claims) run(ctx context.Context, news func() <-chan struct{}) {
	for {
		next := news()
		var again <-chan time.Time
		if c.advance() {
			again = time.After(lookAgain)
		}
		select {
		case <-next:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// advance registers what can be, and reports whether the rest waits for those that
// leave to make room.
func (c *claims) advance() (waits bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known || !c.worker.LibraryReloadAnswered(c.reload) {
		c.read()
	}
	for len(c.open) > 0 {
		w := c.open[0]
		def := plugins.FromDescriptor(w.Worker)
		def.NotifyPid = c.worker.Pid()
		at, leaving := time.Now(), c.anyLeaving() // who leaves after the attempt has left no slot for it
		handle, err := c.worker.RegisterDynamicBackgroundWorker(def)
		if errors.Is(err, plugins.ErrNoSlot) && leaving {
			return true
		}
		if err != nil {
			c.worker.Logf(elog.Log, "background worker \"%s\" was not registered: %v", def.Name, err)
		}
		c.made[w.Number] = &claimed{handle, err, at}
		c.open = c.open[1:]
	}
	return false
}

// read finds out what is announced now. Each number is claimed once.
func (c *claims) read() {
	c.known = true
	file, err := ReadLibraries(".")
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.worker.Logf(elog.Log, "%v", err)
		}
		return
	}
	c.reload, c.gone = 0, nil
	if file.Reload != nil {
		c.reload, c.gone = file.Reload.ID, file.Reload.Workers
	}
	c.open = slices.DeleteFunc(file.Announced, func(w AnnouncedWorker) bool { return c.made[w.Number] != nil })
}

// anyLeaving reports whether a worker that is not registered any more still has
// its slot.
func (c *claims) anyLeaving() bool {
	rows := c.worker.BackgroundWorkers()
	return slices.ContainsFunc(c.gone, func(w ReloadedWorker) bool {
		return w.Fate == postmaster.FateGone && slices.ContainsFunc(rows, func(row plugins.WorkerInfo) bool {
			return row.Slot == w.Slot && row.Generation == w.Generation
		})
	})
}

// of returns what has become of an announcement, and false if it still waits. A
// later reload may have revoked it; then it has come to nothing.
func (c *claims) of(number uint64) (outcome claimed, revoked, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if made := c.made[number]; made != nil {
		return *made, false, true
	}
	waits := slices.ContainsFunc(c.open, func(w AnnouncedWorker) bool { return w.Number == number })
	return claimed{}, !waits, false
}

// AnnouncedWorker is a static worker that a reload has brought and that nobody has
// registered yet.
type AnnouncedWorker struct {
	Number uint64 // no other announcement of this host has it
	Worker shmem.Descriptor
}
