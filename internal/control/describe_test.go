package control

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

var (
	now    = time.Date(2025, 11, 21, 12, 0, 0, 0, time.UTC)
	before = now.Add(-time.Minute)
	failed = plugins.WorkerHistory{Registered: before, Exited: before, ExitCode: 1, SQLState: "58P01", Message: "no such library"}
)

// One reason for each state a worker can be in.
func TestWhy(t *testing.T) {
	entry := plugins.BackgroundWorker{Name: "w", StartTime: plugins.StartAtRecoveryFinished}
	for _, tt := range []struct {
		name   string
		change func(w *plugins.WorkerInfo)
		server shmem.ServerState
		reason string
		detail string
	}{
		{"running", func(w *plugins.WorkerInfo) { w.State, w.Pid, w.Started = plugins.WorkerRunning, 7, before }, shmem.ServerUnreachable,
			"has been running since 2025-11-21 11:59:00 UTC (PID 7)", ""},
		{"running", func(w *plugins.WorkerInfo) {
			w.State, w.Pid, w.Started, w.ActivityState, w.Activity = plugins.WorkerRunning, 7, before, plugins.StateRunning, "SELECT 1,\n\t2"
		}, shmem.ServerReadWrite, "has been running since", "It is executing: SELECT 1, 2"},
		{"running", func(w *plugins.WorkerInfo) {
			w.State, w.Pid, w.Started, w.ActivityState, w.Activity = plugins.WorkerRunning, 7, before, plugins.StateIdle, "SELECT 1"
			w.WaitEventType, w.WaitEvent = "Extension", "Nap"
		}, shmem.ServerReadWrite, "has been running since", "It waits for Extension:Nap."},
		{"running", func(w *plugins.WorkerInfo) {
			w.State, w.Pid, w.Started, w.Terminated = plugins.WorkerRunning, 7, before, true
		}, shmem.ServerReadWrite, "has been running since 2025-11-21 11:59:00 UTC (PID 7), and was asked to end", ""},
		{"running", func(w *plugins.WorkerInfo) {
			w.State, w.Pid, w.Started, w.Draining = plugins.WorkerRunning, 7, before, true
		}, shmem.ServerReadWrite, "(PID 7), and was asked to make room for one that runs from the reloaded library", ""},
		{"held", func(w *plugins.WorkerInfo) {
			w.State, w.Pid, w.Started, w.Request, w.Held = plugins.WorkerRunning, 7, before, 1, true
		}, shmem.ServerReadWrite, "is held: its process was started at 2025-11-21 11:59:00 UTC (PID 7), and waits for its request to be committed", ""},
		{"held", func(w *plugins.WorkerInfo) {
			w.State, w.Pid, w.Held, w.Terminated = plugins.WorkerRunning, 7, true, true
		}, shmem.ServerReadWrite, "was terminated while it was held (PID 7)", ""},
		{"terminated", func(w *plugins.WorkerInfo) { w.State = plugins.WorkerStopped }, shmem.ServerReadWrite, "was terminated, and is about to be unregistered", ""},
		{"lost", func(w *plugins.WorkerInfo) { w.LostServer = true }, shmem.ServerReadWrite, "has lost the server", ""},
		{"unreachable", func(*plugins.WorkerInfo) {}, shmem.ServerUnreachable, "it starts when the server accepts writes, and the server is unreachable", ""},
		{"standby", func(*plugins.WorkerInfo) {}, shmem.ServerStandby, "and the server is standby", ""},
		{"consistent", func(w *plugins.WorkerInfo) { w.Entry.StartTime = plugins.StartAtConsistentState }, shmem.ServerStarting, "when the server accepts connections, and the server is starting", ""},
		{"delay", func(w *plugins.WorkerInfo) { w.WorkerHistory = failed; w.NextStart = now.Add(4500 * time.Millisecond) }, shmem.ServerReadWrite,
			"is started again in 5 s", "Its last process exited with exit code 1 at 2025-11-21 11:59:00 UTC: no such library (SQLSTATE 58P01)."},
		{"about to", func(w *plugins.WorkerInfo) { w.NextStart = before }, shmem.ServerReadWrite, "is about to be started", ""},
		{"postmaster start", func(w *plugins.WorkerInfo) { w.Entry.StartTime = plugins.StartAtPostmasterStart }, shmem.ServerUnreachable, "is about to be started", ""},
		{"no fork", func(w *plugins.WorkerInfo) {
			w.WorkerHistory = plugins.WorkerHistory{Exited: before, ExitCode: 1, Message: "no room"}
		}, shmem.ServerReadWrite, "is about to be started", "It could not be started at 2025-11-21 11:59:00 UTC: no room."},
		{"killed", func(w *plugins.WorkerInfo) {
			w.WorkerHistory = plugins.WorkerHistory{Exited: before, ExitSignal: unix.SIGKILL}
		}, shmem.ServerReadWrite, "is about to be started", "Its last process was terminated by signal 9: Killed at 2025-11-21 11:59:00 UTC."},
	} {
		w := plugins.WorkerInfo{Entry: entry, State: plugins.WorkerWaiting}
		tt.change(&w)
		a := why(w, serverView{state: tt.server, news: "no route"}, now)
		if waits := tt.name == "lost" || tt.name == "unreachable" || tt.name == "standby" || tt.name == "consistent"; waits != (a.Hint == "The server monitor finds: no route") {
			t.Errorf("%s: got the hint %q", tt.name, a.Hint)
		}
		if !strings.HasPrefix(a.Reason, `background worker "w" `) || !strings.Contains(a.Reason, tt.reason) || a.Detail != tt.detail || a.Running != (tt.name == "running") {
			t.Errorf("%s: got %+v", tt.name, a)
		}
	}
}

// What a worker reports is in its row, in the words of pg_stat_activity.
func TestARowSaysWhatTheWorkerDoes(t *testing.T) {
	for state, want := range map[plugins.ActivityState]string{
		0: "", plugins.StateIdle: "idle", plugins.StateRunning: "active", plugins.StateIdleInTransaction: "idle in transaction",
	} {
		r := row(plugins.WorkerInfo{State: plugins.WorkerRunning, ActivityState: state, Activity: "SELECT 1"})
		if r.Activity != want || r.Query != "SELECT 1" {
			t.Errorf("%d: got %+v", state, r)
		}
	}
}

func TestWhyGone(t *testing.T) {
	never := plugins.BackgroundWorker{Name: "w", RestartTime: plugins.NeverRestart}
	for _, tt := range []struct {
		u              plugins.UnregisteredWorker
		reason, detail string
	}{
		{plugins.UnregisteredWorker{Entry: never, WorkerHistory: plugins.WorkerHistory{Message: "too many background workers"}}, "was not registered: too many background workers", ""},
		{plugins.UnregisteredWorker{Entry: never, At: now, WorkerHistory: plugins.WorkerHistory{Registered: before}}, "was unregistered at 2025-11-21 12:00:00 UTC, before it was started", ""},
		{plugins.UnregisteredWorker{Entry: never, WorkerHistory: plugins.WorkerHistory{Registered: before, Exited: now}}, "is done: it exited with exit code 0", ""},
		{plugins.UnregisteredWorker{Entry: never, WorkerHistory: failed}, "never restarts, and ended at 2025-11-21 11:59:00 UTC", "Its last process exited with exit code 1 at 2025-11-21 11:59:00 UTC: no such library (SQLSTATE 58P01)."},
		{plugins.UnregisteredWorker{Entry: plugins.BackgroundWorker{Name: "w"}, At: now, WorkerHistory: failed}, "was unregistered at 2025-11-21 12:00:00 UTC", "Its last process exited with exit code 1 at 2025-11-21 11:59:00 UTC: no such library (SQLSTATE 58P01)."},
		{plugins.UnregisteredWorker{Entry: never, At: now, WorkerHistory: plugins.WorkerHistory{Registered: before, Exited: now, ExitCode: 1, Terminated: true}},
			"was terminated at 2025-11-21 12:00:00 UTC", "Its last process exited with exit code 1 at 2025-11-21 12:00:00 UTC."},
	} {
		if a := whyGone(tt.u); a.Name != "w" || !strings.Contains(a.Reason, tt.reason) || a.Detail != tt.detail || a.Running {
			t.Errorf("got %+v, want %s", a, tt.reason)
		}
	}
}
