package shmem_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/shmem"
)

func TestExitSQLStateIsNeverGarbage(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	r := s.Proc(0)
	for written, want := range map[string]string{"57P01": "57P01", "XX000": "XX000", "toolong": "", "57p01": "", "": ""} {
		r.Reset(shmem.ProcWorker)
		r.SetExitError(written, "what happened")
		if got := r.ExitSQLState(); got != want {
			t.Errorf("%q: got %q, want %q", written, got, want)
		}
	}
}

func TestResetForgetsThePreviousProcess(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	r := s.Proc(0)
	r.MakeReady()
	r.SetClean()
	r.ReportActivity(shmem.ActivityRunning, "SELECT secret")
	r.ReportDatabase("db", 16384)
	r.ReportSession(4711, 10)
	if a := r.Activity(); a.Database != "db" || a.DatabaseOID != 16384 || a.BackendPid != 4711 || a.RoleOID != 10 {
		t.Errorf("got %+v", a)
	}
	r.StartWait(shmem.WaitEvent{Class: shmem.WaitClassExtension, Name: "Old"})
	r.Latch().Set()
	r.Reset(shmem.ProcAuxiliary)
	if r.Ready() || r.Clean() || r.Latch().IsSet() || r.Kind() != shmem.ProcAuxiliary {
		t.Error("flags remain")
	}
	if a := r.Activity(); a.Query != "" || a.Database != "" || a.DatabaseOID != 0 || a.BackendPid != 0 || a.RoleOID != 0 || a.State != shmem.ActivityUndefined {
		t.Errorf("got %+v", a)
	}
	if ev := r.WaitEvent(); ev != (shmem.WaitEvent{}) {
		t.Errorf("got %+v", ev)
	}
}

func TestActivityIsReadConsistently(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	r := s.Proc(0)
	texts := []string{strings.Repeat("a", 900), strings.Repeat("b", 900)}
	r.ReportActivity(shmem.ActivityRunning, texts[0])
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				r.ReportActivity(shmem.ActivityRunning, texts[i%2])
			}
		}
	})
	torn := 0
	for range 2000 {
		if q := r.Activity().Query; q != texts[0] && q != texts[1] {
			torn++ // allowed only if the writer never paused during all attempts
		}
	}
	close(stop)
	wg.Wait()
	if q := r.Activity().Query; q != texts[0] && q != texts[1] {
		t.Errorf("without a writer: got %q", q)
	}
	if torn == 2000 {
		t.Error("every single read was torn")
	}
}

func TestAWriterThatDiedHalfwayBlocksNoReader(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	garbage := make([]byte, 4096)
	for i := range garbage {
		garbage[i] = 0xff
	}
	if _, err := s.File().WriteAt(garbage, 8192); err != nil { // the records follow one page of slots
		t.Fatal(err)
	}
	r := s.Proc(0)
	if a := r.Activity(); len(a.Query) >= shmem.ActivitySize || strings.Trim(a.Query, "?") != "" {
		t.Errorf("got %q", a.Query)
	}
	_ = r.WaitEvent()
	if got := r.ExitSQLState(); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestAlarmAndReasons(t *testing.T) {
	s, a := newSegment(t, 1, 1)
	start := time.Now()
	s.SetServerState(a, shmem.ServerStandby, start)
	s.SendPostmasterSignal(a, shmem.PMSignalServerState)
	if err := a.Wait(); err != nil {
		t.Fatal(err)
	}
	if !s.TakePostmasterSignal(shmem.PMSignalServerState) || s.TakePostmasterSignal(shmem.PMSignalServerState) {
		t.Error("a reason must be taken once")
	}
	if s.TakePostmasterSignal(shmem.PMSignalBackgroundWorkerChange) {
		t.Error("a reason nobody gave")
	}
	state, since, err := s.ServerState()
	if err != nil || state != shmem.ServerStandby || !since.Equal(start.Truncate(time.Microsecond)) {
		t.Errorf("got %v, %v, %v", state, since, err)
	}
	done := make(chan error)
	go func() { done <- a.Wait() }()
	_ = a.Close()
	if err := <-done; err == nil {
		t.Error("Wait returned nil after Close")
	}
}

func TestServerStateOutOfRangeIsAnError(t *testing.T) {
	s, a := newSegment(t, 1, 1)
	s.SetServerState(a, shmem.ServerState(99), time.Time{})
	if _, _, err := s.ServerState(); err == nil {
		t.Error("no error")
	}
}
