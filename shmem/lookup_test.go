package shmem_test

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/shmem"
)

func TestTheTypeOfAWorkerIsFoundByItsPidWhileItRuns(t *testing.T) {
	s, _ := newSegment(t, 3, 1)
	pm, be := s.PostmasterSlots(), s.BackendSlots(os.Getpid())
	want := func(pid int, typ string, found bool) {
		t.Helper()
		if gotType, gotFound := be.TypeByPid(pid); gotType != typ || gotFound != found {
			t.Errorf("pid %d: got %q, %v", pid, gotType, gotFound)
		}
	}
	pm.Init(0, shmem.Descriptor{Type: "static"})
	pm.SetPid(0, 10)
	slot, _, err := be.Claim(shmem.Descriptor{Type: "dynamic"}, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	want(10, "static", true)
	want(shmem.InvalidPid, "", false) // the dynamic one has not been started
	want(shmem.DeadPid, "", false)
	want(20, "", false)
	pm.SetPid(slot, 20)
	want(20, "dynamic", true)
	pm.SetPid(slot, shmem.DeadPid)
	want(20, "", false)
	pm.SetPid(slot, 30)
	pm.Release(slot, false)
	want(30, "", false) // whatever the free slot still holds
	if holder := s.SlotLockHolder(); holder != 0 {
		t.Errorf("process %d holds the lock", holder)
	}
}

func TestATypeIsCopiedDefensively(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	pm := s.PostmasterSlots()
	pm.Init(0, shmem.Descriptor{Type: strings.Repeat("\xff", 500)})
	pm.SetPid(0, 10)
	if typ, ok := s.BackendSlots(os.Getpid()).TypeByPid(10); !ok || typ != strings.Repeat("?", shmem.NameSize-1) {
		t.Errorf("got %q, %v", typ, ok)
	}
}

// A slot that changes hands under the reader's eyes shows one worker's type or
// none, never a mixture and never another's.
func TestATypeIsNeverAnotherWorkers(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	pm, be := s.PostmasterSlots(), s.BackendSlots(os.Getpid())
	var current atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	typeOf := func(pid int) string { return strings.Repeat(strconv.Itoa(pid)+" ", 8) }
	wg.Go(func() {
		for pid := 1; ; pid++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, _, err := be.Claim(shmem.Descriptor{Type: typeOf(pid)}, false, 0); err != nil {
				t.Error(err)
				return
			}
			pm.SetPid(0, pid)
			current.Store(int64(pid))
			for range pid % 100 { // of all lengths, the life of a worker
				current.Load()
			}
			pm.SetPid(0, shmem.DeadPid)
			pm.Release(0, false)
		}
	})
	for found, deadline := 0, time.Now().Add(limit); found < 1000; {
		pid := int(current.Load())
		typ, ok := be.TypeByPid(pid)
		if ok {
			found++
		}
		if ok && typ != typeOf(pid) {
			t.Errorf("pid %d: got %q", pid, typ)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %d types seen", found)
		}
	}
	close(stop)
	wg.Wait()
}
