package plugins

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// WorkerState is where a registered worker stands.
type WorkerState string

// The states.
const (
	WorkerNotYetStarted WorkerState = "not_yet_started" // it never had a process
	WorkerRunning       WorkerState = "running"
	WorkerWaiting       WorkerState = "waiting" // to be started again
	WorkerStopped       WorkerState = "stopped" // it was terminated, and is about to be unregistered
)

// WorkerInfo is what there is to know of a registered worker, as of the moment
// of asking: what a row of a view of all workers says.
type WorkerInfo struct {
	Handle     Handle
	Slot       int
	Generation uint64
	Entry      BackgroundWorker
	State      WorkerState
	Pid        int   // of the running process, or 0
	Request    int64 // of RegisterHeldBackgroundWorker, or 0
	Held       bool  // it has one, and was not released: main has not run

	Database      string // that the process is connected to, or empty
	DatabaseOID   uint32 // of that database, or 0
	BackendPid    int    // of the server's process for its session, or 0
	RoleOID       uint32 // the role that its session has become; 0 if it is that of its login
	WaitEventType string // what the process waits for, or empty
	WaitEvent     string
	ActivityState ActivityState // what it reports to be doing; 0 if it has not
	Activity      string        // the statement that it runs or ran last, or empty

	WorkerHistory
}

// WorkerHistory is what has become of a worker's processes. Times are zero if
// the event has not happened.
type WorkerHistory struct {
	Registered time.Time
	Restarts   int       // starts after the first
	Started    time.Time // the last start
	Exited     time.Time // the last end
	ExitCode   int       // of that, unless ExitSignal is set
	ExitSignal unix.Signal
	SQLState   elog.SQLState // of the error that ended it, or empty
	Message    string        // of that error, or why no process could be started
	NextStart  time.Time     // not before this, as far as the worker's past is concerned
	LostServer bool          // it lost the server, and waits for news of one
	Terminated bool          // somebody has asked for its end
	Draining   bool          // a reload of its library has asked its process to end; another follows
}

// UnregisteredWorker is what is remembered of a worker that is not registered
// any more, or was refused a slot.
type UnregisteredWorker struct {
	At      time.Time // when it was unregistered
	Entry   BackgroundWorker
	Request int64 // of RegisterHeldBackgroundWorker, or 0
	WorkerHistory
}

// BackgroundWorkers returns all registered workers in the order of their slots.
// It takes no lock, so that each row is consistent in itself only. A worker
// without shared memory sees none.
func (w *Worker) BackgroundWorkers() []WorkerInfo {
	if w.segment == nil {
		return nil
	}
	slots, procs := w.slots(), w.procsByPid()
	var all []WorkerInfo
	for i := range slots.Len() {
		slot, ok := slots.Info(i)
		if !ok {
			continue
		}
		info := WorkerInfo{
			Handle: Handle{incarnation: w.segment.Incarnation(), slot: uint32(i), generation: slot.Generation},
			Slot:   i, Generation: slot.Generation, Entry: FromDescriptor(slot.Worker), WorkerHistory: history(slot.Report),
			Request: slot.Worker.Request, Held: slot.Worker.Request != 0 && !slot.GateOpen,
		}
		switch {
		case slot.Pid > 0:
			info.State, info.Pid = WorkerRunning, slot.Pid
			info.describeProcess(procs)
		case slot.Terminate:
			info.State = WorkerStopped
		case slot.Pid == shmem.InvalidPid:
			info.State = WorkerNotYetStarted
		default:
			info.State = WorkerWaiting
		}
		all = append(all, info)
	}
	return all
}

// describeProcess adds what the process says of itself.
func (i *WorkerInfo) describeProcess(procs map[int]shmem.ProcRecord) {
	proc, ok := procs[i.Pid]
	if !ok {
		return
	}
	activity, wait := proc.Activity(), proc.WaitEvent()
	i.Database, i.DatabaseOID, i.ActivityState, i.Activity = activity.Database, activity.DatabaseOID, activity.State, activity.Query
	i.BackendPid, i.RoleOID = activity.BackendPid, activity.RoleOID
	i.WaitEventType, i.WaitEvent = wait.Class.String(), wait.Name
}

func (w *Worker) procsByPid() map[int]shmem.ProcRecord {
	procs := make(map[int]shmem.ProcRecord)
	for i := range w.segment.ProcCount() {
		if p := w.segment.Proc(i); p.Pid() > 0 {
			procs[p.Pid()] = p
		}
	}
	return procs
}

// UnregisteredWorkers returns what is remembered of workers that are gone, the
// last one first. Only so many are remembered.
func (w *Worker) UnregisteredWorkers() []UnregisteredWorker {
	var all []UnregisteredWorker
	if w.segment == nil {
		return nil
	}
	for _, b := range w.segment.Buried() {
		all = append(all, UnregisteredWorker{At: b.At, Entry: FromDescriptor(b.Worker), Request: b.Worker.Request, WorkerHistory: history(b.Report)})
	}
	return all
}

func history(r shmem.WorkerReport) WorkerHistory {
	return WorkerHistory{
		Registered: r.Registered, Restarts: r.Restarts, Started: r.Started, Exited: r.Exited, ExitCode: r.ExitCode, ExitSignal: r.ExitSignal,
		SQLState: elog.SQLState(r.SQLState), Message: r.Message, NextStart: r.NextStart, LostServer: r.LostServer, Terminated: r.Terminated, Draining: r.Draining,
	}
}

// ServerState returns what the server monitor has published last.
func (w *Worker) ServerState() shmem.ServerState {
	if w.segment == nil {
		return shmem.ServerUnreachable
	}
	state, _, err := w.segment.ServerState()
	if err != nil {
		return shmem.ServerUnreachable
	}
	return state
}

// ServerNews returns why the server monitor cannot use the server, or "" if it
// can.
func (w *Worker) ServerNews() string {
	if w.segment == nil {
		return ""
	}
	return w.segment.ServerNews()
}
