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

// What the life of one worker costs the core in all, from its registration to
// its end, beside others that run, in an array of a thousand slots.
func BenchmarkLife(b *testing.B) {
	for _, running := range []int{0, 10, 100, 400, 1000} {
		b.Run(fmt.Sprintf("running=%d", running), func(b *testing.B) {
			segment, err := shmem.Create(1001, 1)
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
		})
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
	l.step(postmaster.SlotsChanged{})
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
	l.step(postmaster.SlotsChanged{})
	l.step(postmaster.Exited{Child: l.spawn.Child, Status: postmaster.ExitStatus{Code: 1}})
}
