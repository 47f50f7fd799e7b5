package control

import (
	"fmt"
	"strings"
	"time"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// row translates what is known of a worker into a row of ps.
func row(w plugins.WorkerInfo) Worker {
	r := Worker{
		Slot: w.Slot, Generation: w.Generation, Pid: w.Pid, Name: w.Entry.Name, Type: w.Entry.Type,
		Library: w.Entry.LibraryName, Function: w.Entry.FunctionName, State: string(w.State), Database: w.Database,
		Restarts: w.Restarts, LastExit: lastExit(w.WorkerHistory), LastExitAt: optional(w.Exited),
		LastError: w.Message, LastErrCode: string(w.SQLState),
	}
	r.WaitEvent = waitEvent(w)
	r.Activity, r.Query = activityNames[w.ActivityState], w.Activity
	if w.State == plugins.WorkerRunning {
		r.StartedAt = optional(w.Started)
		if w.Held {
			r.State = "held"
		}
	}
	if w.State == plugins.WorkerWaiting {
		r.NextStart = optional(w.NextStart)
	}
	return r
}

// activityNames are the words of pg_stat_activity.
var activityNames = map[plugins.ActivityState]string{
	plugins.StateIdle: "idle", plugins.StateRunning: "active", plugins.StateIdleInTransaction: "idle in transaction",
}

func waitEvent(w plugins.WorkerInfo) string {
	if w.WaitEvent == "" {
		return ""
	}
	return w.WaitEventType + ":" + w.WaitEvent
}

// doing is a sentence about what a worker that runs is at, on one line, or
// empty if it does not say.
func doing(w plugins.WorkerInfo) string {
	switch {
	case w.ActivityState == plugins.StateRunning && w.Activity != "":
		return "It is executing: " + strings.Join(strings.Fields(w.Activity), " ")
	case w.WaitEvent != "":
		return fmt.Sprintf("It waits for %s.", waitEvent(w))
	}
	return ""
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// lastExit says how the last process ended, in the words of the log.
func lastExit(h plugins.WorkerHistory) string {
	if h.Exited.IsZero() {
		return ""
	}
	return postmaster.ExitStatus{Signaled: h.ExitSignal != 0, Code: h.ExitCode, Signal: h.ExitSignal}.String()
}

// serverView is what the server monitor finds.
type serverView struct {
	state shmem.ServerState
	news  string // why it can't use the server
}

func (s serverView) hint() string {
	if s.news == "" {
		return "The log of the host says what the server monitor finds."
	}
	return "The server monitor finds: " + s.news
}

// why finds the one reason why a registered worker does not run, or says since
// when it does.
func why(w plugins.WorkerInfo, server serverView, now time.Time) Answer {
	a := Answer{Name: w.Entry.Name}
	subject := fmt.Sprintf("background worker \"%s\"", w.Entry.Name)
	switch {
	case w.State == plugins.WorkerRunning && w.Held:
		a.Reason = fmt.Sprintf("%s is held: its process was started at %s (PID %d), and waits for its request to be committed", subject, stamp(w.Started), w.Pid)
		if w.Terminated {
			a.Reason = fmt.Sprintf("%s was terminated while it was held (PID %d)", subject, w.Pid)
		}
	case w.State == plugins.WorkerRunning:
		a.Running = true
		a.Reason = fmt.Sprintf("%s has been running since %s (PID %d)", subject, stamp(w.Started), w.Pid)
		switch {
		case w.Terminated:
			a.Reason += ", and was asked to end"
		case w.Draining:
			a.Reason += ", and was asked to make room for one that runs from the reloaded library"
		}
		a.Detail = doing(w)
		return a
	case w.State == plugins.WorkerStopped:
		a.Reason = subject + " was terminated, and is about to be unregistered"
	case w.LostServer:
		a.Reason = subject + " has lost the server, and waits until it is back"
		a.Hint = server.hint()
	case !postmaster.Admits(server.state, w.Entry.StartTime):
		a.Reason = fmt.Sprintf("%s waits for the server: it starts when the server %s, and the server is %s", subject, condition(w.Entry.StartTime), server.state)
		a.Hint = server.hint()
	case w.NextStart.After(now):
		a.Reason = fmt.Sprintf("%s is started again in %d s", subject, int64(w.NextStart.Sub(now)/time.Second)+1)
	default:
		a.Reason = subject + " is about to be started"
	}
	a.Detail = ending(w.WorkerHistory)
	return a
}

// whyGone says what became of a worker that is not registered any more.
func whyGone(u plugins.UnregisteredWorker) Answer {
	a := Answer{Name: u.Entry.Name}
	subject := fmt.Sprintf("background worker \"%s\"", u.Entry.Name)
	switch {
	case u.Registered.IsZero():
		a.Reason = subject + " was not registered: " + u.Message
		return a
	case u.Exited.IsZero():
		a.Reason = fmt.Sprintf("%s was unregistered at %s, before it was started", subject, stamp(u.At))
	case u.Terminated:
		a.Reason = fmt.Sprintf("%s was terminated at %s", subject, stamp(u.At))
	case u.ExitSignal == 0 && u.ExitCode == 0:
		a.Reason = fmt.Sprintf("%s is done: it exited with exit code 0 at %s", subject, stamp(u.Exited))
		return a
	case u.Entry.RestartTime == plugins.NeverRestart:
		a.Reason = fmt.Sprintf("%s never restarts, and ended at %s", subject, stamp(u.Exited))
	default:
		a.Reason = fmt.Sprintf("%s was unregistered at %s", subject, stamp(u.At))
	}
	a.Detail = ending(u.WorkerHistory)
	return a
}

// ending is a sentence about how the last process ended, and by what error.
func ending(h plugins.WorkerHistory) string {
	switch {
	case h.Exited.IsZero():
		return ""
	case h.Message == "":
		return fmt.Sprintf("Its last process %s at %s.", lastExit(h), stamp(h.Exited))
	case h.SQLState == "":
		return fmt.Sprintf("It could not be started at %s: %s.", stamp(h.Exited), h.Message)
	}
	return fmt.Sprintf("Its last process %s at %s: %s (SQLSTATE %s).", lastExit(h), stamp(h.Exited), h.Message, h.SQLState)
}

func stamp(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") }

func condition(at plugins.StartTime) string {
	if at == plugins.StartAtConsistentState {
		return "accepts connections"
	}
	return "accepts writes"
}
