package plugins

import (
	"os"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// FakeHost is the shared memory of a host with one worker attached to it, which
// is this process, for examples and tests. Nobody plays the postmaster until
// Serve is called.
type FakeHost struct {
	Worker  *Worker
	Segment *shmem.Segment
	Slots   shmem.PostmasterSlots
	Alarm   *shmem.Alarm
}

// NewFakeHost makes one with that many slots and with settings ("name=value").
func NewFakeHost(slots int, options ...string) (*FakeHost, error) {
	segment, err := shmem.Create(slots, 1+slots)
	if err != nil {
		return nil, err
	}
	alarm, err := shmem.NewAlarm()
	if err != nil {
		return nil, err
	}
	var items []guc.Item
	for _, option := range options {
		item, err := guc.ParseOption(option)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	store, _ := guc.NewChildStore(items, settings.Definitions()...)
	log := elog.NewLogger(os.Stderr)
	w := newWorker(shmem.ProcWorker, BackgroundWorker{Name: "launcher", Type: "launcher"}, segment, segment.Proc(0))
	w.alarm, w.log, w.settings = alarm, log, &ownSettings{store: store, log: log}
	return &FakeHost{Worker: w, Segment: segment, Slots: segment.PostmasterSlots(), Alarm: alarm}, nil
}

// Serve plays a postmaster that starts every worker at once, with the pids from
// 1000 on, until Close. Each worker lives until it is terminated.
func (h *FakeHost) Serve() {
	known := make(map[int]bool)
	for h.Alarm.Wait() == nil {
		if !h.Segment.TakePostmasterSignal(shmem.PMSignalBackgroundWorkerChange) {
			continue
		}
		for i := range h.Slots.Len() {
			switch {
			case h.Slots.InUse(i) && h.Slots.Terminate(i, h.Slots.Generation(i)):
				h.Slots.SetPid(i, shmem.DeadPid)
				h.Slots.Release(i, false)
				delete(known, i)
				h.Worker.SetLatch()
			case h.Slots.InUse(i) && !known[i]:
				known[i] = true
				h.Slots.SetPid(i, 1000+i)
				h.Worker.SetLatch()
			}
		}
	}
}

// KillHost makes the worker believe that its host is dead, but not follow it.
func (h *FakeHost) KillHost() {
	close(h.Worker.postmasterDead)
	h.Worker.cancel(ErrPostmasterDied)
	h.Worker.latch.Kick()
}
