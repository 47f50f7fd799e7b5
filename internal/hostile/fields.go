package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/shmem"
)

// field is a word of the segment that means something, and where its next ones
// are, if it is one of an array's.
type field struct {
	name   string
	offset int
	stride int
	count  int
}

func (f field) at(i int) int { return f.offset + i*f.stride }

// Names of fields that are treated specially.
const (
	totalSlots = "total slots"
	slotLock   = "slot lock"
	terminate  = "terminate"
	inUse      = "in_use"
)

// findFields finds out where the fields of a segment are, without knowing its
// layout: it changes one after the other in a segment of the same size, through
// the functions that do so, and looks what is different.
func findFields(slots, procs int) (map[string]field, error) {
	s, err := shmem.Create(max(slots, 2), max(procs, 2))
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	mem, err := mapFile(s)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Munmap(mem) }()
	alarm, err := shmem.NewAlarm()
	if err != nil {
		return nil, err
	}
	defer func() { _ = alarm.Close() }()

	fields := make(map[string]field)
	before := bytes.Clone(mem)
	changed := func(change func()) int {
		copy(before, mem)
		change()
		for i := range mem {
			if mem[i] != before[i] {
				return i &^ 3
			}
		}
		return -1
	}
	pm := s.PostmasterSlots()
	find := func(name string, count int, change func(i int)) {
		first, second := changed(func() { change(0) }), -1
		if count > 1 {
			second = changed(func() { change(1) })
		}
		fields[name] = field{name: name, offset: first, stride: max(second-first, 0), count: count}
	}
	for i := range 2 {
		pm.Init(i, shmem.Descriptor{})
	}
	find("pid of a slot", slots, func(i int) { pm.SetPid(i, 77) })
	find("notify pid", slots, func(i int) { pm.SetPid(i, shmem.InvalidPid); pm.Init(i, shmem.Descriptor{NotifyPid: 77}) })
	find("request", slots, func(i int) { pm.Init(i, shmem.Descriptor{NotifyPid: 77, Request: 77}) })
	find("gate", slots, func(i int) { _, _ = s.BackendSlots(5).OpenGate(i, 0) })
	find(terminate, slots, func(i int) { _, _ = s.BackendSlots(5).RequestTermination(i, 0) })
	find("change count of a report", slots, func(i int) { pm.SetReport(i, shmem.WorkerReport{}) })
	find("generation", slots, func(i int) { pm.Skip(i, 77) })
	find(inUse, slots, func(i int) { pm.Release(i, false) })
	find(slotLock, 1, func(int) { s.BackendSlots(5).Lock() })
	find("server state", 1, func(int) { s.SetServerState(alarm, shmem.ServerStandby, time.Time{}) })
	s.TakePostmasterSignal(shmem.PMSignalServerState)
	find("request bits", 2, func(i int) { s.SendPostmasterSignal(alarm, shmem.PMSignal(i)) })
	find("parallel count", 1, func(int) { pm.Release(0, true) })
	find("buried", 1, func(int) { s.Bury(shmem.Buried{}) })
	find("pid of a record", procs, func(i int) { s.Proc(i).SetPid(77) })
	find("flags", procs, func(i int) { s.Proc(i).SetClean() })
	find("latch", procs, func(i int) { s.Proc(i).Latch().Set() })
	find("change count of a record", procs, func(i int) { s.Proc(i).ReportDatabase("", 0) })
	// Nothing ever changes this one.
	fields[totalSlots] = field{name: totalSlots, offset: fields[slotLock].offset - 4, count: 1}
	if n := binary.NativeEndian.Uint32(mem[fields[totalSlots].offset:]); int(n) != max(slots, 2) {
		return nil, fmt.Errorf("the number of slots is not where it was: there is %d", n)
	}
	for _, f := range fields {
		if f.offset < 0 || f.count > 1 && f.stride == 0 {
			return nil, fmt.Errorf("nothing changes with %s", f.name)
		}
	}
	return fields, nil
}

func mapFile(s *shmem.Segment) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(s.File().Fd()), &st); err != nil {
		return nil, err
	}
	return unix.Mmap(int(s.File().Fd()), 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}
