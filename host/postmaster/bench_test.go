package postmaster_test

import (
	"fmt"
	"testing"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// realSlots are slots in real shared memory, where looking at each of many costs
// what it costs the host.
type realSlots struct{ shmem.PostmasterSlots }

func (s realSlots) Descriptor(i int) plugins.BackgroundWorker {
	return plugins.FromDescriptor(s.PostmasterSlots.Descriptor(i))
}

func (s realSlots) Pid(i int) int { return s.ReportedPid(i) }

// What the life of one worker costs the core in all, from its registration to
// its end: four events, beside others that run, and in an array of so many slots.
func BenchmarkLife(b *testing.B) {
	for _, running := range []int{0, 10, 100, 400, 1000} {
		b.Run(fmt.Sprintf("running=%d", running), func(b *testing.B) { benchmarkLife(b, running, running+1) })
	}
	for _, slots := range []int{8, 1000, 16384, shmem.MaxSlots} {
		b.Run(fmt.Sprintf("slots=%d", slots), func(b *testing.B) { benchmarkLife(b, 0, slots) })
	}
}

func benchmarkLife(b *testing.B, running, slots int) {
	segment, err := shmem.Create(slots, 1)
	if err != nil {
		b.Fatal(err)
	}
	defer segment.Close()
	l := &life{b: b, slots: segment.PostmasterSlots(), claims: segment.BackendSlots(1)}
	l.m = postmaster.New(postmaster.Config{Slots: realSlots{l.slots}})
	l.step(postmaster.Started{})
	for range running {
		l.begin()
	}
	for b.Loop() {
		slot, generation := l.begin()
		l.end(slot, generation)
	}
}

// life plays the shell and the children of a machine that never fails.
type life struct {
	b      *testing.B
	m      *postmaster.Machine
	slots  shmem.PostmasterSlots
	claims shmem.BackendSlots
	spawn  postmaster.Spawn
	pid    int
}

func (l *life) step(ev postmaster.Event) {
	for _, cmd := range l.m.Step(epoch, ev) {
		switch cmd := cmd.(type) {
		case postmaster.Spawn:
			l.spawn = cmd
		case postmaster.SetSlotPid:
			l.slots.SetPid(cmd.Slot, cmd.Pid)
		case postmaster.ReleaseSlot:
			l.slots.Release(cmd.Slot, cmd.Parallel)
		}
	}
	_, _ = l.m.NextWake()
}

func (l *life) begin() (slot int, generation uint64) {
	w := plugins.BackgroundWorker{Name: "w", Flags: plugins.ShmemAccess, LibraryName: "l", FunctionName: "f", RestartTime: plugins.NeverRestart}
	slot, generation, err := l.claims.Claim(w.Descriptor(), false, 0)
	if err != nil {
		l.b.Fatal(err)
	}
	l.step(postmaster.SlotsChanged{Slots: []int{slot}})
	if l.spawn.Slot != slot {
		l.b.Fatalf("slot %d was started instead of %d", l.spawn.Slot, slot)
	}
	l.pid++
	l.step(postmaster.Spawned{Child: l.spawn.Child, Pid: l.pid})
	return slot, generation
}

func (l *life) end(slot int, generation uint64) {
	if ok, err := l.claims.RequestTermination(slot, generation); !ok {
		l.b.Fatal(err)
	}
	l.step(postmaster.SlotsChanged{Slots: []int{slot}})
	l.step(postmaster.Exited{Child: l.spawn.Child, Status: postmaster.ExitStatus{Code: 1}})
}
