package host

import (
	"errors"
	"io"
	"os"
	"slices"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// spareRecords is how many process records there are beside those of workers
// and auxiliary processes: one for the preload child, the rest in reserve.
const spareRecords = 4

// makeSharedMemory makes what is shared with the children.
func (h *host) makeSharedMemory() error {
	if err := h.makeSegment(); err != nil {
		return err
	}
	lifeline, err := newPipe("lifeline")
	if err != nil {
		return fatal(elog.InsufficientResources, err, "could not create the lifeline: %s", elog.OSReason(err))
	}
	h.children = &children{
		spawner: newSpawner(), segment: h.segment, alarm: h.alarm, dir: h.dir, exe: executable, title: h.title(),
		lifeline: lifeline,
		env:      childEnvironment(), stdout: os.Stderr, stderr: os.Stderr, log: h.log, post: h.post,
		byID: make(map[postmaster.ChildID]*process), records: make([]bool, h.segment.ProcCount()),
	}
	return nil
}

// makeSegment makes the segment and the alarm.
func (h *host) makeSegment() error {
	slots := h.store.Int(settings.MaxWorkerProcesses)
	segment, err := shmem.Create(slots, slots+len(plugins.Auxiliaries())+spareRecords)
	if err != nil {
		return fatal(elog.InsufficientResources, err, "could not create shared memory for %d worker processes: %v", slots, err)
	}
	alarm, err := shmem.NewAlarm()
	if err != nil {
		_ = segment.Close()
		return fatal(elog.InsufficientResources, err, "could not create the postmaster's alarm: %v", err)
	}
	h.segment, h.slots, h.alarm = segment, segment.PostmasterSlots(), alarm
	go h.watchAlarm(alarm)
	return nil
}

// remakeSharedMemory replaces the segment and the alarm after a crash. The old
// ones go: no child has them any more.
func (h *host) remakeSharedMemory() error {
	oldSegment, oldAlarm := h.segment, h.alarm
	if err := h.makeSegment(); err != nil {
		return err
	}
	for _, b := range slices.Backward(oldSegment.Buried()) {
		h.segment.Bury(b)
	}
	h.carryStatistics(oldSegment)
	failpoint.Here(failpoint.SegmentRemade)
	h.children.segment, h.children.alarm = h.segment, h.alarm
	clear(h.children.records)
	_ = oldAlarm.Close()
	_ = oldSegment.Close()
	return nil
}

// watchAlarm turns the ringing of children into events.
func (h *host) watchAlarm(alarm *shmem.Alarm) {
	for {
		if err := alarm.Wait(); err != nil {
			if !errors.Is(err, os.ErrClosed) && !errors.Is(err, io.EOF) {
				h.log.Logf(elog.Log, "could not wait for the alarm: %v", err)
			}
			return
		}
		h.post(rung{})
	}
}

// rung says that a child has rung the alarm.
type rung struct{}

// coreSlots shows the core the slot array, in the shared memory that there is
// now, in its own terms.
type coreSlots struct{ h *host }

func (s coreSlots) Len() int          { return s.h.slots.Len() }
func (s coreSlots) TotalSlots() int64 { return s.h.slots.TotalSlots() }
func (s coreSlots) InUse(i int) bool  { return s.h.slots.InUse(i) }
func (s coreSlots) Pid(i int) int     { return s.h.slots.ReportedPid(i) }

func (s coreSlots) Generation(i int) uint64 { return s.h.slots.Generation(i) }

func (s coreSlots) Terminate(i int, generation uint64) bool {
	return s.h.slots.Terminate(i, generation)
}

// Descriptor copies a slot's descriptor defensively.
func (s coreSlots) Descriptor(i int) plugins.BackgroundWorker {
	return plugins.FromDescriptor(s.h.slots.Descriptor(i))
}
