package shmem_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/shmem"
)

func fullReport() shmem.WorkerReport {
	at := func(seconds int64) time.Time { return time.UnixMicro(1_700_000_000_000_000 + seconds) }
	return shmem.WorkerReport{
		Registered: at(1), Restarts: 3, Started: at(2), Exited: at(3), ExitSignal: unix.SIGKILL, SQLState: "57P01",
		Message: "it went", NextStart: at(4), LostServer: true, Draining: true,
	}
}

func TestReportsComeBackAsPublished(t *testing.T) {
	s, _ := newSegment(t, 2, 1)
	if _, ok := s.BackendSlots(1).Info(0); ok {
		t.Error("a free slot has a report")
	}
	d := shmem.Descriptor{Name: "w", Type: "t", Library: "l", Function: "f", RestartTime: 7}
	pm := s.PostmasterSlots()
	pm.Init(0, d)
	for _, r := range []shmem.WorkerReport{fullReport(), {}, {ExitCode: 1, Exited: time.UnixMicro(5)}} {
		pm.SetReport(0, r)
		info, ok := s.BackendSlots(1).Info(0)
		want := shmem.SlotInfo{Pid: shmem.InvalidPid, Worker: d, Report: r}
		if !ok || !reflect.DeepEqual(info, want) {
			t.Errorf("got %+v, %v\nwant %+v", info, ok, want)
		}
	}
	pm.SetReport(0, shmem.WorkerReport{Message: strings.Repeat("x", 1000), SQLState: "too long by far"})
	if info, ok := s.BackendSlots(1).Info(0); !ok || len(info.Report.Message) != shmem.MessageSize-1 || len(info.Report.SQLState) != 7 {
		t.Errorf("got %+v, %v", info, ok)
	}
	pm.Release(0, false)
	if _, ok := s.BackendSlots(1).Info(0); ok {
		t.Error("a released slot has a report")
	}
}

// The postmaster reports on a worker once it has taken it over. Until then there
// must be nothing of whoever had the slot before.
func TestTheNextWorkerOfASlotHasNoReportOfTheFormer(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	pm := s.PostmasterSlots()
	pm.Init(0, shmem.Descriptor{Name: "former"})
	pm.SetReport(0, fullReport())
	pm.Release(0, false)
	if _, _, err := s.BackendSlots(1).Claim(shmem.Descriptor{Name: "next"}, false, 0); err != nil {
		t.Fatal(err)
	}
	info, ok := s.BackendSlots(1).Info(0)
	if !ok || info.Worker.Name != "next" || info.Report != (shmem.WorkerReport{}) {
		t.Errorf("got %+v, %v", info, ok)
	}
}

func TestTheLastUnregisteredWorkersAreRemembered(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	if b := s.Buried(); len(b) != 0 {
		t.Errorf("at first: %v", b)
	}
	for i := range shmem.Tombs + 10 {
		s.Bury(shmem.Buried{At: time.UnixMicro(int64(i + 1)), Worker: shmem.Descriptor{Name: fmt.Sprint(i)}, Report: fullReport()})
	}
	all := s.Buried()
	if len(all) != shmem.Tombs {
		t.Fatalf("%d are remembered", len(all))
	}
	for i, b := range all {
		if want := fmt.Sprint(shmem.Tombs + 9 - i); b.Worker.Name != want || b.At != time.UnixMicro(int64(shmem.Tombs+10-i)) || !reflect.DeepEqual(b.Report, fullReport()) {
			t.Errorf("number %d is %+v, want %s", i, b, want)
		}
	}
}

func TestTheMessageOfAnExitNeedsItsSQLState(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	r := s.Proc(0)
	r.SetExitError("", "x")
	if r.ExitMessage() != "" {
		t.Error("a message without an SQLSTATE")
	}
	r.SetExitError("XX000", "it broke")
	if r.ExitMessage() != "it broke" || r.ExitSQLState() != "XX000" {
		t.Errorf("got %q, %q", r.ExitSQLState(), r.ExitMessage())
	}
	r.Reset(shmem.ProcWorker)
	if r.ExitMessage() != "" {
		t.Error("the message survived a reset")
	}
}

func TestNewsOfTheServerReplaceThoseBefore(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	for _, want := range []string{"", "connection refused", "no", ""} {
		s.SetServerNews(want)
		if got := s.ServerNews(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	s.SetServerNews(strings.Repeat("x", 2*shmem.MessageSize))
	if got := s.ServerNews(); len(got) != shmem.MessageSize-1 {
		t.Errorf("%d bytes", len(got))
	}
}
