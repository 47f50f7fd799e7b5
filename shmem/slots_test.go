package shmem_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pgexthost/pgexthost/shmem"
)

func TestSlotMachineOfSPEC3(t *testing.T) {
	s, _ := newSegment(t, 2, 1)
	pm, be := s.PostmasterSlots(), s.BackendSlots(os.Getpid())

	slot, generation, err := be.Claim(shmem.Descriptor{Name: "a"}, false, 0)
	if err != nil || slot != 0 || generation != 1 {
		t.Fatalf("got slot %d, generation %d, %v", slot, generation, err)
	}
	want := func(status shmem.HandleStatus, pid int) {
		t.Helper()
		gotStatus, gotPid, err := be.Pid(slot, generation)
		if err != nil || gotStatus != status || gotPid != pid {
			t.Fatalf("got %v, %d, %v; want %v, %d", gotStatus, gotPid, err, status, pid)
		}
	}
	want(shmem.HandleNotYetStarted, 0)
	pm.SetPid(slot, 4711)
	want(shmem.HandleStarted, 4711)
	pm.SetPid(slot, shmem.DeadPid)
	want(shmem.HandleStopped, 0) // waiting to restart
	if terminated, err := be.RequestTermination(slot, generation); !terminated || err != nil || !pm.Terminate(slot, generation) {
		t.Fatalf("got %v, %v", terminated, err)
	}
	wantTerminating := func(want bool) {
		t.Helper()
		if got, err := be.Terminating(slot, generation); got != want || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
	wantTerminating(true)
	pm.Release(slot, false)
	want(shmem.HandleStopped, 0) // free
	wantTerminating(false)

	if _, second, _ := be.Claim(shmem.Descriptor{Name: "b"}, false, 0); second != 2 || pm.Terminate(slot, second) {
		t.Errorf("a recycled slot has generation %d, terminate %v", second, pm.Terminate(slot, second))
	}
	want(shmem.HandleStopped, 0) // the handle is stale
	if _, err := be.RequestTermination(slot, 2); err != nil {
		t.Fatal(err)
	}
	wantTerminating(false)
	pm.Release(slot, false)
	_, _, _ = be.Claim(shmem.Descriptor{Name: "c"}, false, 0)
	if terminated, _ := be.RequestTermination(slot, generation); terminated || pm.Terminate(slot, 3) {
		t.Error("a stale handle terminated another worker")
	}
}

func TestClaimFailsWhenEverySlotIsTaken(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	be := s.BackendSlots(os.Getpid())
	_, _, first := be.Claim(shmem.Descriptor{}, false, 0)
	_, _, second := be.Claim(shmem.Descriptor{}, false, 0)
	if first != nil || !errors.Is(second, shmem.ErrNoFreeSlot) {
		t.Errorf("got %v, %v", first, second)
	}
}

// The counters of parallel workers wrap: what counts is their difference.
func TestParallelWorkersAreCapped(t *testing.T) {
	for _, start := range []uint32{0, 41, math.MaxUint32 - 1, math.MaxUint32} {
		s, _ := newSegment(t, 8, 1)
		shmem.SetParallelCounters(s, start)
		pm, be := s.PostmasterSlots(), s.BackendSlots(os.Getpid())
		claim := func(parallel bool) error {
			d := shmem.Descriptor{}
			if parallel {
				d.Flags = shmem.ParallelFlag
			}
			_, _, err := be.Claim(d, parallel, 2)
			return err
		}
		for i := range 2 {
			if err := claim(true); err != nil {
				t.Fatalf("from %d, worker %d: %v", start, i, err)
			}
		}
		if err := claim(true); !errors.Is(err, shmem.ErrParallelLimit) {
			t.Fatalf("from %d: the cap did not hold: %v", start, err)
		}
		if err := claim(false); err != nil {
			t.Fatalf("from %d: the cap held for a worker that is not parallel: %v", start, err)
		}
		pm.Release(0, true)
		if err := claim(true); err != nil {
			t.Fatalf("from %d: the end of a parallel worker made no room: %v", start, err)
		}
		if err := claim(true); !errors.Is(err, shmem.ErrParallelLimit) {
			t.Fatalf("from %d: the cap did not hold again: %v", start, err)
		}
		if n := shmem.CountedParallel(s); n != 2 {
			t.Errorf("from %d: %d parallel workers are counted, not 2", start, n)
		}
	}
}

// In PostgreSQL, counters that garbage has driven apart are the end of all parallel
// workers, until the next crash.
func TestGarbageInTheCountersOfParallelWorkersRefusesNobody(t *testing.T) {
	s, _ := newSegment(t, 8, 1)
	be := s.BackendSlots(os.Getpid())
	s.PostmasterSlots().Init(3, shmem.Descriptor{})
	s.PostmasterSlots().Release(3, true) // one more than was registered
	for i := range 2 {
		if _, _, err := be.Claim(shmem.Descriptor{Flags: shmem.ParallelFlag}, true, 2); err != nil {
			t.Fatalf("worker %d: %v", i, err)
		}
	}
	s.PostmasterSlots().Init(2, shmem.Descriptor{})
	s.PostmasterSlots().Release(2, true) // and one more: the difference is 2^32-1 or so
	s.PostmasterSlots().Init(2, shmem.Descriptor{})
	s.PostmasterSlots().Release(2, true)
	if _, _, err := be.Claim(shmem.Descriptor{Flags: shmem.ParallelFlag}, true, 2); !errors.Is(err, shmem.ErrParallelLimit) {
		t.Errorf("got %v: there are two", err)
	}
}

func TestASlotIsRestoredUnderWhoeverTookIt(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	pm, be := s.PostmasterSlots(), s.BackendSlots(os.Getpid())
	slot, own, _ := be.Claim(shmem.Descriptor{Name: "own"}, false, 0)
	pm.SetPid(slot, 4711)
	pm.Release(slot, false) // garbage
	_, intruders, err := be.Claim(shmem.Descriptor{Name: "intruder"}, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	pm.Restore(slot, own, 4711, shmem.Descriptor{Name: "own"})
	if status, pid, _ := be.Pid(slot, own); status != shmem.HandleStarted || pid != 4711 {
		t.Errorf("its own handle: got %v, %d", status, pid)
	}
	if info, ok := be.Info(slot); !ok || info.Worker.Name != "own" {
		t.Errorf("got %+v", info)
	}
	wantNobody := func() {
		t.Helper()
		if status, _, _ := be.Pid(slot, intruders); status != shmem.HandleStopped {
			t.Errorf("the intruder's handle: got %v", status)
		}
		if asked, _ := be.RequestTermination(slot, intruders); asked {
			t.Error("the intruder's handle ends another worker")
		}
	}
	wantNobody()
	pm.Skip(slot, own+1000)
	pm.Release(slot, false)
	if _, heirs, _ := be.Claim(shmem.Descriptor{Name: "heir"}, false, 0); heirs != own+1001 {
		t.Errorf("the next one has generation %d", heirs)
	}
	wantNobody()
}

// A request for the end of a worker can't be come by without wanting it.
func TestNoGarbageEndsAWorker(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	pm := s.PostmasterSlots()
	pm.Init(0, shmem.Descriptor{})
	for _, word := range []uint64{0, 1, 2, math.MaxUint64, 1 << 63, 0x4141414141414141, s.Incarnation()} {
		shmem.SetTerminate(s, word)
		if pm.Terminate(0, 0) && word != s.Incarnation() { // one incarnation of two has the highest bit set
			t.Errorf("%#x ends it", word)
		}
	}
}

func TestHandlesOutOfRangeAreErrors(t *testing.T) {
	s, _ := newSegment(t, 2, 1)
	be := s.BackendSlots(os.Getpid())
	for _, slot := range []int{-1, 2, 1 << 30} {
		if _, _, err := be.Pid(slot, 0); err == nil {
			t.Errorf("Pid(%d): no error", slot)
		}
		if _, err := be.Terminating(slot, 0); err == nil {
			t.Errorf("Terminating(%d): no error", slot)
		}
		if _, err := be.RequestTermination(slot, 0); err == nil {
			t.Errorf("RequestTermination(%d): no error", slot)
		}
	}
}

func TestDescriptorsAreCopiedDefensively(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	long := strings.Repeat("x", 5000)
	s.PostmasterSlots().Init(0, shmem.Descriptor{Name: long, Type: "tab\there\x01\xff", Library: long, Function: long})
	d := s.PostmasterSlots().Descriptor(0)
	if len(d.Name) != shmem.NameSize-1 || len(d.Library) != shmem.PathSize-1 || len(d.Function) != shmem.NameSize-1 {
		t.Errorf("got lengths %d, %d, %d", len(d.Name), len(d.Library), len(d.Function))
	}
	if d.Type != "tab\there??" {
		t.Errorf("got %q", d.Type)
	}
	// Without any NUL, and with every byte there is.
	garbage := make([]byte, 8192)
	for i := range garbage {
		garbage[i] = byte(i%255) + 1
	}
	if _, err := s.File().WriteAt(garbage[:4096], 4096); err != nil {
		t.Fatal(err)
	}
	if d := s.PostmasterSlots().Descriptor(0); len(d.Name) >= shmem.NameSize {
		t.Errorf("got %d bytes", len(d.Name))
	}
}

func TestNothingOfALongerTextRemainsInASlot(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	const secret = "a text with a secret at its end"
	s.PostmasterSlots().Init(0, shmem.Descriptor{Name: secret, Library: secret})
	s.PostmasterSlots().Init(0, shmem.Descriptor{Name: "a", Library: "b"})
	raw := make([]byte, 4096)
	if _, err := s.File().ReadAt(raw, 4096); err != nil { // the slots follow one page of header
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("secret")) {
		t.Error("the slot still holds it")
	}
}

// claimAndRelease is a process that claims slots as fast as it can, and checks
// that each shows what was written to it until it is released. It plays the
// postmaster for its own slots, which is the one part of the protocol it
// shares with nobody.
func claimAndRelease() error {
	s, _, err := attachInherited()
	if err != nil {
		return err
	}
	self := os.Getpid()
	pm, be := s.PostmasterSlots(), s.BackendSlots(self)
	fmt.Println("ready")
	bufio.NewScanner(os.Stdin).Scan()
	claimed := 0
	for i := range 20000 {
		name := fmt.Sprintf("%d-%d", self, i)
		slot, generation, err := be.Claim(shmem.Descriptor{Name: name, MainArg: int64(self)}, false, 0)
		if err != nil {
			continue
		}
		claimed++
		if d := pm.Descriptor(slot); d.Name != name || d.MainArg != int64(self) || !pm.InUse(slot) {
			return fmt.Errorf("slot %d of %s shows %s", slot, name, d.Name)
		}
		pm.SetPid(slot, self)
		if status, pid, _ := be.Pid(slot, generation); status != shmem.HandleStarted || pid != self {
			return fmt.Errorf("slot %d of %d shows %d", slot, self, pid)
		}
		pm.Release(slot, false)
		if status, _, _ := be.Pid(slot, generation); status != shmem.HandleStopped {
			return fmt.Errorf("released slot %d has status %d", slot, status)
		}
	}
	fmt.Println(claimed)
	return nil
}

func TestProcessesNeverShareASlot(t *testing.T) {
	s, a := newSegment(t, 3, 1)
	processes := make([]*process, 4)
	for i := range processes {
		processes[i] = startProcess(t, "claim", s, a)
	}
	for _, p := range processes {
		p.readLine(t)
	}
	for _, p := range processes {
		fmt.Fprintln(p.stdin, "go")
	}
	total := 0
	for _, p := range processes {
		var n int
		if _, err := fmt.Sscan(p.readLine(t), &n); err != nil {
			t.Fatal(err)
		}
		total += n
		if err := p.cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	be := s.BackendSlots(os.Getpid())
	generations := 0
	for range 3 {
		_, generation, err := be.Claim(shmem.Descriptor{}, false, 0)
		if err != nil {
			t.Fatal("a slot was lost")
		}
		generations += int(generation) - 1
	}
	if generations != total {
		t.Errorf("%d claims raised %d generations", total, generations)
	}
	if holder := s.SlotLockHolder(); holder != 0 {
		t.Errorf("process %d holds the lock", holder)
	}
}

// A slot that is being recycled must not look like one that was never started
// to the holder of a handle.
func TestAStoppedWorkerNeverLooksUnstarted(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	pm, be := s.PostmasterSlots(), s.BackendSlots(os.Getpid())
	var running atomic.Uint64 // the generation that has been started last
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			_, generation, _ := be.Claim(shmem.Descriptor{}, false, 0)
			pm.SetPid(0, 42)
			running.Store(generation)
			pm.SetPid(0, shmem.DeadPid)
			pm.Release(0, false)
		}
	})
	for range 3_000_000 {
		generation := running.Load()
		if status, pid, _ := be.Pid(0, generation); generation != 0 && status == shmem.HandleNotYetStarted {
			t.Fatalf("generation %d: got %v, %d", generation, status, pid)
		}
	}
	close(stop)
	wg.Wait()
}

// dieWithLock exits inside the critical section.
func dieWithLock() error {
	s, _, err := attachInherited()
	if err != nil {
		return err
	}
	shmem.HoldSlotLock(s, os.Getpid())
	os.Exit(0)
	return nil
}

func TestTheSlotLockNamesItsDeadHolder(t *testing.T) {
	s, a := newSegment(t, 1, 1)
	p := startProcess(t, "die-held", s, a)
	if err := p.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := s.SlotLockHolder(); got != p.cmd.Process.Pid {
		t.Errorf("got %d, want %d", got, p.cmd.Process.Pid)
	}
	// The postmaster goes on without it.
	s.PostmasterSlots().Init(0, shmem.Descriptor{})
	s.PostmasterSlots().Release(0, true)
}
