package shmem

import (
	"time"
)

// ProcKind says what a child process is for.
type ProcKind uint32

// The kinds of children.
const (
	ProcFree      ProcKind = iota
	ProcWorker             // a background worker, with a slot
	ProcPreload            // runs _PG_init of shared_preload_libraries
	ProcAuxiliary          // an auxiliary process
)

// The bits of a process record's flags.
const (
	procReady = 1 << iota // the process acts upon signals: UnblockSignals
	procClean             // the process ends in an orderly way
)

// ProcRecord is the record of one child process. The postmaster uses the
// methods of the first group, the child those of the second; both sides'
// methods are safe for concurrent use.
type ProcRecord struct{ p *proc }

// ProcCount returns the number of process records.
func (s *Segment) ProcCount() int { return len(s.procs) }

// Proc returns record i, which must be below ProcCount.
func (s *Segment) Proc(i int) ProcRecord { return ProcRecord{&s.procs[i]} }

// PrivateProc returns a record in the memory of this process alone, for a worker
// that has no shared memory.
func PrivateProc() ProcRecord { return ProcRecord{new(proc)} }

// ---- the postmaster's side

// Reset prepares the record for a new child of the given kind, before it is
// started.
func (r ProcRecord) Reset(kind ProcKind) {
	p := r.p
	p.pid.Store(0)
	p.kind.Store(uint32(kind))
	p.latch.Store(0)
	p.flags.Store(0)
	p.exitState.Store(0)
	p.startedAt.Store(0)
	p.waitClass.Store(0)
	p.activityState, p.activitySince, p.databaseOID, p.backendPid, p.roleOID = 0, 0, 0, 0, 0
	clear(p.waitEvent[:])
	clear(p.database[:])
	clear(p.activity[:])
	p.changeCount.Store(0)
}

// SetPid records which process the record belongs to; 0 once it is gone.
func (r ProcRecord) SetPid(pid int) {
	r.p.pid.Store(int32(pid))
	r.p.startedAt.Store(time.Now().UnixMicro())
}

// Ready reports whether the child acts upon signals.
func (r ProcRecord) Ready() bool { return r.p.flags.Load()&procReady != 0 }

// Clean reports whether the child left its mark that it ends in an orderly way.
func (r ProcRecord) Clean() bool { return r.p.flags.Load()&procClean != 0 }

// ExitSQLState returns the SQLSTATE of the error that ended the child, or "".
func (r ProcRecord) ExitSQLState() string {
	v := r.p.exitState.Load()
	code := make([]byte, 0, 5)
	for range 5 {
		c := byte(v)
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return ""
		}
		code = append(code, c)
		v >>= 8
	}
	return string(code)
}

// ExitMessage returns the message of the error that ended the child, or "".
func (r ProcRecord) ExitMessage() string {
	if r.ExitSQLState() == "" {
		return ""
	}
	return safeString(r.p.exitMessage[:])
}

// ---- the child's side

// Latch returns the process's latch.
func (r ProcRecord) Latch() Latch { return Latch{&r.p.latch} }

// Pid returns the process id.
func (r ProcRecord) Pid() int { return int(r.p.pid.Load()) }

// Kind returns what the process is for.
func (r ProcRecord) Kind() ProcKind { return ProcKind(r.p.kind.Load()) }

// MakeReady makes the process ready for signals (UnblockSignals).
func (r ProcRecord) MakeReady() { r.p.flags.Or(procReady) }

// MakeUnready makes the process unready for signals (BlockSignals).
func (r ProcRecord) MakeUnready() { r.p.flags.And(^uint32(procReady)) }

// SetClean leaves the mark that the process ends in an orderly way.
func (r ProcRecord) SetClean() { r.p.flags.Or(procClean) }

// SetExitError leaves the SQLSTATE and the message of the error that ends the
// process.
func (r ProcRecord) SetExitError(code, message string) {
	if len(code) != 5 {
		return
	}
	putString(r.p.exitMessage[:], message)
	var v uint64
	for i := 4; i >= 0; i-- {
		v = v<<8 | uint64(code[i])
	}
	r.p.exitState.Store(v)
}
