package postmaster_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/shmem"
)

// What the reports say, along the life of a worker.
func TestReportsFollowAWorker(t *testing.T) {
	r := newRig(t, named("w", restart(5)))
	check := func(what string, want shmem.WorkerReport) {
		t.Helper()
		if got := r.reports[0]; got != want {
			t.Errorf("%s: got %+v\nwant %+v", what, got, want)
		}
	}
	want := shmem.WorkerReport{Registered: epoch}
	check("being started", want)
	r.started("w")
	want.Started = epoch
	check("running", want)

	r.now = r.now.Add(time.Minute)
	failed := sqlState("42704")
	failed.Message = "no such thing"
	r.exit("w", failed)
	want.Exited, want.ExitCode, want.SQLState, want.Message = r.now, 1, "42704", "no such thing"
	want.NextStart = r.now.Add(5 * time.Second)
	check("ended with an error", want)

	r.pass(5 * time.Second)
	r.started("w")
	want.Started, want.Restarts, want.NextStart = r.now, 1, time.Time{}
	check("running again", want)

	r.exit("w", killedBy(unix.SIGKILL))
	want.Exited, want.ExitCode, want.ExitSignal, want.SQLState, want.Message = r.now, 0, unix.SIGKILL, "", ""
	want.NextStart = r.now.Add(5 * time.Second)
	check("killed", want)

	r.pass(5 * time.Second)
	r.fail("w", errNoExec, false)
	want.Exited, want.ExitCode, want.ExitSignal, want.Message = r.now, 1, 0, errNoExec.Error()
	want.NextStart = r.now.Add(5 * time.Second)
	check("not started", want)

	r.pass(5 * time.Second)
	r.started("w")
	want.Started, want.Restarts = r.now, 2
	r.exit("w", code(0))
	want.Exited, want.ExitCode, want.Message, want.NextStart = r.now, 0, "", time.Time{}
	if len(r.buried) != 1 || r.buried[0].Report != want || r.buried[0].Worker.Name != "w" {
		t.Errorf("buried: %+v, want %+v", r.buried, want)
	}
}

// A worker that lost its server waits for news, not for a time.
func TestReportsTellOfALostServer(t *testing.T) {
	r := newRig(t, named("w", database))
	r.server(shmem.ServerReadWrite, serverA)
	r.started("w")
	r.exit("w", sqlState("08006"))
	if got := r.reports[0]; !got.LostServer || !got.NextStart.IsZero() {
		t.Errorf("lost: %+v", got)
	}
	r.server(shmem.ServerReadWrite, serverA)
	r.started("w")
	r.exit("w", sqlState("08006"))
	r.server(shmem.ServerReadWrite, serverA)
	if got := r.reports[0]; got.LostServer || got.NextStart != r.now.Add(time.Second) {
		t.Errorf("back: %+v", got)
	}
}

// Whoever comes back after a crash cycle keeps his books; who does not is
// buried.
func TestReportsSurviveACrashCycle(t *testing.T) {
	r := bareRig(t, workers(named("never", restart(never)), named("w")))
	r.step(postmaster.Started{})
	r.started("w")
	r.started("never")
	r.step(scope(postmaster.CrashScopeCluster))
	r.exit("w", killedBy(unix.SIGSEGV))
	r.exit("never", code(2))
	r.started("w")
	if got := r.reports[0]; got.Restarts != 1 || got.ExitSignal != unix.SIGSEGV {
		t.Errorf("got %+v", got)
	}
	if len(r.buried) != 1 || r.buried[0].Worker.Name != "never" || r.buried[0].Report.ExitCode != 2 {
		t.Errorf("buried: %+v", r.buried)
	}
}

func TestReportsTellWhoWasAskedToEnd(t *testing.T) {
	r := newRig(t, named("runs"))
	r.started("runs")
	r.terminate(0)
	if !r.reports[0].Terminated {
		t.Errorf("got %+v", r.reports[0])
	}
	r.exit("runs", code(0)) // by a handler of its own
	if len(r.buried) != 1 || !r.buried[0].Report.Terminated {
		t.Errorf("buried: %+v", r.buried)
	}
}
