package shmem_test

import (
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/shmem"
)

func TestASlotLockThatNobodyCanHoldIsBroken(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	for name, word := range map[string]uint32{
		"nobody":                   1 << 31,
		"a pid that can't be":      math.MaxInt32,
		"a dead process":           uint32(dead.Process.Pid),
		"a stranger":               1,
		"the postmaster":           uint32(os.Getppid()),
		"who waits for it himself": uint32(os.Getpid()) | 1<<31,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := newSegment(t, 1, 1)
			shmem.SetSlotLock(s, word)
			claimed := make(chan error, 1)
			go func() {
				_, _, err := s.BackendSlots(os.Getpid()).Claim(shmem.Descriptor{}, false, 0)
				claimed <- err
			}()
			select {
			case err := <-claimed:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(limit):
				t.Fatal("Claim hangs")
			}
			if holder := s.SlotLockHolder(); holder != 0 {
				t.Errorf("%d holds the lock", holder)
			}
		})
	}
}

// holdLock holds the lock until its standard input ends, and takeLock takes it.
func holdLock() error {
	s, _, err := attachInherited()
	if err != nil {
		return err
	}
	shmem.HoldSlotLock(s, os.Getpid())
	_, _ = os.Stdout.WriteString("held\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.BackendSlots(os.Getpid()).Unlock()
	return nil
}

func takeLock() error {
	s, _, err := attachInherited()
	if err != nil {
		return err
	}
	_, _ = os.Stdout.WriteString("taking\n")
	s.BackendSlots(os.Getpid()).Lock()
	_, _ = os.Stdout.WriteString("taken\n")
	return nil
}

// Children of one postmaster believe each other, however long it takes.
func TestALockThatALivingChildHoldsIsWaitedFor(t *testing.T) {
	t.Parallel()
	s, a := newSegment(t, 1, 1)
	holder := startProcess(t, "hold", s, a)
	holder.readLine(t)
	taker := startProcess(t, "take", s, a)
	taker.readLine(t)
	<-time.After(2500 * time.Millisecond) // more than twice as long as it takes to ask
	if got := s.SlotLockHolder(); got != holder.cmd.Process.Pid {
		t.Errorf("%d holds the lock, not %d", got, holder.cmd.Process.Pid)
	}
	_ = holder.stdin.Close()
	if line := taker.readLine(t); line != "taken" {
		t.Errorf("got %q", line)
	}
}

func TestAnOverwrittenHeaderIsRestored(t *testing.T) {
	s, _ := newSegment(t, 3, 3)
	attach := func() (*shmem.Segment, error) {
		fd, err := unix.Dup(int(s.File().Fd()))
		if err != nil {
			t.Fatal(err)
		}
		return shmem.Attach(os.NewFile(uintptr(fd), "segment"))
	}
	incarnation := s.Incarnation()
	if s.WriteConstants() {
		t.Error("a new header needs to be restored")
	}
	if _, err := unix.Pwrite(int(s.File().Fd()), make([]byte, 4096), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := attach(); !errors.Is(err, shmem.ErrNotSegment) {
		t.Errorf("got %v", err)
	}
	if s.Incarnation() != incarnation || s.PostmasterPid() != os.Getpid() {
		t.Error("who has the segment already is misled")
	}
	if !s.WriteConstants() {
		t.Error("nothing was restored")
	}
	again, err := attach()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Incarnation() != incarnation || again.PostmasterPid() != os.Getpid() || again.PostmasterSlots().TotalSlots() != 3 {
		t.Error("it is another segment")
	}
}

func TestAChangeCountThatWasLeftOddHeals(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	s.PostmasterSlots().Init(0, shmem.Descriptor{Name: "w"})
	shmem.MakeOdd(s)
	if info, ok := s.BackendSlots(1).Info(0); !ok || info.Worker.Name != "w" {
		t.Errorf("got %+v, %v: the worker is hidden", info, ok)
	}
	s.PostmasterSlots().SetReport(0, shmem.WorkerReport{Message: "m"})
	s.Proc(0).ReportDatabase("d", 5)
	if even := shmem.Counts(s); even[0]%2 != 0 || even[1]%2 != 0 {
		t.Errorf("the counts are %d", even)
	}
}

func TestATimeThatCannotBeIsNone(t *testing.T) {
	s, a := newSegment(t, 1, 1)
	pm := s.PostmasterSlots()
	pm.Init(0, shmem.Descriptor{})
	for _, us := range []int64{math.MinInt64, -1, math.MaxInt64, 1 << 60} {
		at := time.UnixMicro(us)
		pm.SetReport(0, shmem.WorkerReport{Exited: at, NextStart: at})
		if info, _ := s.BackendSlots(1).Info(0); !info.Report.Exited.IsZero() || !info.Report.NextStart.IsZero() {
			t.Errorf("%d: got %+v", us, info.Report)
		}
		s.SetServerState(a, shmem.ServerStandby, at)
		if _, started, err := s.ServerState(); err != nil || !started.IsZero() {
			t.Errorf("%d: got %v, %v", us, started, err)
		}
	}
}

// The word says that its owner sleeps, until somebody overwrites it.
func TestASleeperWhoseLatchIsOverwrittenIsWokenAllTheSame(t *testing.T) {
	for name, wake := range map[string]func(shmem.Latch){"by a kick": shmem.Latch.Kick, "by itself": shmem.Latch.Set} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := newSegment(t, 1, 1)
			latch := s.Proc(0).Latch()
			woken := make(chan struct{})
			go func() { latch.Wait(-1); close(woken) }()
			for shmem.WipeOut(latch) == 0 { // until it sleeps
			}
			wake(latch)
			select {
			case <-woken:
			case <-time.After(limit):
				t.Error("it sleeps on")
			}
		})
	}
}
