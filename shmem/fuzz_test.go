package shmem_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/shmem"
)

const fuzzSlots = 3

// Whatever bytes there are in the segment, all that is read from it is bounded,
// printable, and can be written as JSON; and what the postmaster writes then is
// read back.
func FuzzAnyBytesAreASegment(f *testing.F) {
	mem := fuzzSegment(f)
	for _, at := range []int{0, 4096, 4096 + shmem.SlotSize, shmem.ProcsOffset(fuzzSlots), shmem.TombsOffset(fuzzSlots, fuzzSlots)} {
		f.Add(uint32(at), slices.Clone(mem[at:at+shmem.SlotSize])) // real ones
	}
	f.Add(uint32(4096), []byte("\x01\x00\x00\x00\xff\xff\xff\xff"))
	s := create(f, fuzzSlots, fuzzSlots)
	mem = mapAgain(f, s)
	f.Cleanup(func() { _ = unix.Munmap(mem); _ = s.Close() })
	f.Fuzz(func(t *testing.T, at uint32, data []byte) {
		clear(mem)
		s.WriteConstants()
		copy(mem[int(at)%len(mem):], data)
		checkReadable(t, s)
		attachTo(t, s)
		shmem.SetSlotLock(s, 0) // what becomes of a lock is another test's
		_, _ = s.BackendSlots(os.Getpid()).TypeByPid(os.Getpid())
		checkRestorable(t, s)
	})
}

func fuzzSegment(f *testing.F) []byte {
	s := create(f, fuzzSlots, fuzzSlots)
	now := time.Now()
	d := shmem.Descriptor{Name: "w", Type: "t", Library: "l", Function: "f", Flags: 3, RestartTime: 60, NotifyPid: 77}
	report := shmem.WorkerReport{Registered: now, Started: now, Exited: now, ExitCode: 1, SQLState: "08006", Message: "gone"}
	for i := range fuzzSlots {
		s.PostmasterSlots().Init(i, d)
		s.PostmasterSlots().SetPid(i, os.Getpid())
		s.PostmasterSlots().SetReport(i, report)
		s.Bury(shmem.Buried{At: now, Worker: d, Report: report})
		p := s.Proc(i)
		p.SetPid(os.Getpid())
		p.ReportActivity(shmem.ActivityRunning, "SELECT 1")
		p.StartWait(shmem.WaitEvent{Class: shmem.WaitClassIPC, Name: "BgworkerShutdown"})
		p.SetExitError("57P01", "the end")
	}
	mem := mapAgain(f, s)
	f.Cleanup(func() { _ = unix.Munmap(mem); _ = s.Close() })
	return mem
}

func mapAgain(t testing.TB, s *shmem.Segment) []byte {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(s.File().Fd()), &st); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(int(s.File().Fd()), 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	return mem
}

// checkReadable reads all that can be read.
func checkReadable(t *testing.T, s *shmem.Segment) {
	t.Helper()
	pm, be := s.PostmasterSlots(), s.BackendSlots(os.Getpid())
	pm.TotalSlots()
	for i := range fuzzSlots {
		generation := pm.Generation(i)
		_, _, _ = pm.InUse(i), pm.ReportedPid(i), pm.Terminate(i, generation)
		checkDescriptor(t, pm.Descriptor(i))
		if info, ok := be.Info(i); ok {
			checkDescriptor(t, info.Worker)
			checkReport(t, info.Report)
			if status, pid, err := be.Pid(i, info.Generation); err != nil || status == shmem.HandleStarted && pid <= 0 {
				t.Errorf("got %v, %d, %v", status, pid, err)
			}
		}
		_, _ = be.Terminating(i, generation)
		p := s.Proc(i)
		_, _, _, _, _ = p.Pid(), p.Kind(), p.Ready(), p.Clean(), p.Latch().IsSet()
		activity, wait := p.Activity(), p.WaitEvent()
		checkText(t, activity.Query, shmem.ActivitySize)
		checkText(t, activity.Database, shmem.EventSize)
		checkText(t, wait.Name+wait.Class.String(), 2*shmem.EventSize)
		checkText(t, p.ExitSQLState(), 6)
		checkText(t, p.ExitMessage(), shmem.MessageSize)
		checkJSON(t, activity)
	}
	if buried := s.Buried(); len(buried) > shmem.Tombs {
		t.Errorf("%d are buried", len(buried))
	} else {
		for _, b := range buried {
			checkDescriptor(t, b.Worker)
			checkReport(t, b.Report)
			checkJSON(t, b.At)
		}
	}
	state, since, err := s.ServerState()
	checkJSON(t, since)
	if err == nil && state.String() == "unknown" {
		t.Errorf("state %d", state)
	}
	s.SlotLockHolder()
	s.BreakSlotLock(1)
	s.TakePostmasterSignal(shmem.PMSignalServerState)
}

func checkDescriptor(t *testing.T, d shmem.Descriptor) {
	t.Helper()
	checkText(t, d.Name, shmem.NameSize)
	checkText(t, d.Type, shmem.NameSize)
	checkText(t, d.Library, shmem.PathSize)
	checkText(t, d.Function, shmem.NameSize)
}

func checkReport(t *testing.T, r shmem.WorkerReport) {
	t.Helper()
	checkText(t, r.SQLState, 8)
	checkText(t, r.Message, shmem.MessageSize)
	checkJSON(t, r)
	for _, at := range []time.Time{r.Registered, r.Started, r.Exited, r.NextStart} {
		checkJSON(t, at.In(time.FixedZone("furthest east", 14*60*60)))
	}
}

func checkText(t *testing.T, text string, size int) {
	t.Helper()
	if len(text) >= size {
		t.Errorf("%q has %d bytes", text, len(text))
	}
	for _, c := range []byte(text) {
		if (c < 32 || c > 126) && c != '\n' && c != '\r' && c != '\t' {
			t.Fatalf("%q is not printable", text)
		}
	}
}

func checkJSON(t *testing.T, v any) {
	t.Helper()
	if _, err := json.Marshal(v); err != nil {
		t.Error(err)
	}
}

// attachTo attaches as a new child does: it gets the segment, or an error.
func attachTo(t *testing.T, s *shmem.Segment) {
	t.Helper()
	fd, err := unix.Dup(int(s.File().Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := shmem.Attach(os.NewFile(uintptr(fd), "segment")); err == nil {
		_ = again.Close()
	}
}

// checkRestorable writes what a host writes, and reads it back.
func checkRestorable(t *testing.T, s *shmem.Segment) {
	t.Helper()
	s.WriteConstants()
	if s.WriteConstants() || s.PostmasterSlots().TotalSlots() != fuzzSlots {
		t.Error("the header is not restored")
	}
	pm, be := s.PostmasterSlots(), s.BackendSlots(os.Getpid())
	for i := range fuzzSlots {
		pm.Restore(i, 5, 4711, shmem.Descriptor{Name: "w"})
		pm.SetReport(i, shmem.WorkerReport{Message: "m"})
		if info, ok := be.Info(i); !ok || info.Generation != 5 || info.Pid != 4711 || info.Worker.Name != "w" || info.Report.Message != "m" {
			t.Errorf("slot %d: got %+v, %v", i, info, ok)
		}
		s.Proc(i).Reset(shmem.ProcWorker)
		s.Proc(i).ReportActivity(shmem.ActivityRunning, "q")
		if got := s.Proc(i).Activity(); got.Query != "q" {
			t.Errorf("record %d: got %+v", i, got)
		}
		pm.Release(i, false)
	}
	s.Bury(shmem.Buried{Worker: shmem.Descriptor{Name: "last"}})
	if buried := s.Buried(); len(buried) > 0 && buried[0].Worker.Name != "last" {
		t.Errorf("got %+v", buried[0])
	}
	if _, _, err := be.Claim(shmem.Descriptor{Flags: shmem.ParallelFlag}, true, 1); err != nil {
		t.Error(err)
	}
}
