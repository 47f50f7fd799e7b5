package shmem

import (
	"sync/atomic"
	"time"
)

// ActivityState mirrors BackendState of PostgreSQL's backend_status.h.
type ActivityState uint32

// The states a process can report.
const (
	ActivityUndefined ActivityState = iota
	ActivityIdle
	ActivityRunning
	ActivityIdleInTransaction
)

// Activity is what a process says that it is doing, as pg_stat_activity shows it.
type Activity struct {
	State    ActivityState
	Since    time.Time // when Query and State were reported
	Query    string    // the statement it runs, or ran last
	Database string    // the database it is connected to, or ""

	DatabaseOID uint32 // of that database, or 0
	BackendPid  int    // of the server's process for the session, or 0
	RoleOID     uint32 // that the session has become, or 0: it is the login's
}

// WaitEvent is what a process waits for. Class is one of the classes of
// pg_wait_events, such as "Extension" or "IPC".
type WaitEvent struct {
	Class WaitClass
	Name  string
}

// WaitClass is the class of a wait event.
type WaitClass uint32

// The classes in use. The zero value means that the process does not wait.
const (
	NotWaiting WaitClass = iota
	WaitClassActivity
	WaitClassClient
	WaitClassExtension
	WaitClassIPC
	WaitClassTimeout
)

// String returns the name that pg_wait_events has for the class.
func (c WaitClass) String() string {
	switch c {
	case NotWaiting:
	case WaitClassActivity:
		return "Activity"
	case WaitClassClient:
		return "Client"
	case WaitClassExtension:
		return "Extension"
	case WaitClassIPC:
		return "IPC"
	case WaitClassTimeout:
		return "Timeout"
	}
	return ""
}

// ReportActivity publishes what the process does. Only one goroutine of the
// owning process may report at a time. Mirrors pgstat_report_activity.
func (r ProcRecord) ReportActivity(state ActivityState, query string) {
	r.write(func(p *proc) {
		p.activityState, p.activitySince = uint32(state), time.Now().UnixMicro()
		if state == ActivityRunning || query != "" {
			putString(p.activity[:], query)
		}
	})
}

// ReportDatabase publishes the database the process is connected to. The same
// restriction holds as for ReportActivity.
func (r ProcRecord) ReportDatabase(name string, oid uint32) {
	r.write(func(p *proc) {
		putString(p.database[:], name)
		p.databaseOID = oid
	})
}

// ReportSession publishes which process of the server its session is with, and which
// role it has become; 0 if it is that of its login. The same restriction holds as for ReportActivity.
func (r ProcRecord) ReportSession(backendPid int, roleOID uint32) {
	r.write(func(p *proc) { p.backendPid, p.roleOID = int32(backendPid), roleOID })
}

// StartWait publishes what the process is about to wait for. The same
// restriction holds as for ReportActivity.
func (r ProcRecord) StartWait(ev WaitEvent) {
	r.write(func(p *proc) { putString(p.waitEvent[:], ev.Name) })
	r.p.waitClass.Store(uint32(ev.Class))
}

// EndWait publishes that the wait is over.
func (r ProcRecord) EndWait() { r.p.waitClass.Store(uint32(NotWaiting)) }

// write brackets a change with the change count, as
// PGSTAT_BEGIN_WRITE_ACTIVITY does.
func (r ProcRecord) write(change func(*proc)) {
	beginChange(&r.p.changeCount)
	change(r.p)
	r.p.changeCount.Add(1)
}

// beginChange makes a change count odd, for its one writer, who adds one when he
// is done. A count that somebody else has left odd does not stay so for ever.
func beginChange(count *atomic.Uint32) { count.Or(1) }

// readAttempts bounds how often a reader tries to get a consistent copy: the
// writer may have died, or may be garbage, with the count left odd.
const readAttempts = 16

// Activity returns what the process says that it is doing. If no consistent
// copy could be had, it is a torn one, which is still bounded and printable.
func (r ProcRecord) Activity() Activity {
	var a Activity
	r.read(func(p *proc) {
		a = Activity{
			State: ActivityState(p.activityState), Since: fromMicros(p.activitySince),
			Query: safeString(p.activity[:]), Database: safeString(p.database[:]), DatabaseOID: p.databaseOID,
			BackendPid: int(p.backendPid), RoleOID: p.roleOID,
		}
	})
	return a
}

// WaitEvent returns what the process waits for.
func (r ProcRecord) WaitEvent() WaitEvent {
	class := WaitClass(r.p.waitClass.Load())
	if class == NotWaiting {
		return WaitEvent{}
	}
	ev := WaitEvent{Class: class}
	r.read(func(p *proc) { ev.Name = safeString(p.waitEvent[:]) })
	return ev
}

func (r ProcRecord) read(copyOut func(*proc)) {
	for range readAttempts {
		before := r.p.changeCount.Load()
		copyOut(r.p)
		// A swap, because a plain second load would not keep weakly ordered
		// processors from moving the copying behind it.
		if before&1 == 0 && r.p.changeCount.CompareAndSwap(before, before) {
			return
		}
	}
}
