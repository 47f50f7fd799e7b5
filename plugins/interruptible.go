package plugins

import "github.com/pgexthost/pgexthost/shmem"

// HasInterruptibleWorkers reports whether any worker runs that was registered
// with Interruptible: whether anybody has to look out for commands that want a
// database for themselves. It takes no lock and copies nothing, but looks at
// every slot.
func (w *Worker) HasInterruptibleWorkers() bool {
	if w.segment == nil {
		return false
	}
	slots := w.slots()
	for i := range slots.Len() {
		if flags, running := slots.RunningFlags(i); running && Flags(flags)&Interruptible != 0 {
			return true
		}
	}
	return false
}

// TerminateBackgroundWorkersForDatabase terminates, as TerminateBackgroundWorker
// does, every worker that was registered with Interruptible and is connected to
// the database with this OID, and returns how many these were. It does not wait
// for their end. A worker that connects at this very moment is missed: whoever
// needs the database for itself asks again. Mirrors the C function of that name
// of PostgreSQL 19.
func (w *Worker) TerminateBackgroundWorkersForDatabase(databaseOID uint32) int {
	if w.segment == nil || databaseOID == 0 {
		return 0
	}
	terminated := 0
	slots, procs := w.slots(), map[int]shmem.ProcRecord(nil)
	for i := range slots.Len() {
		if flags, running := slots.RunningFlags(i); !running || Flags(flags)&Interruptible == 0 {
			continue
		}
		slot, ok := slots.Info(i)
		if procs == nil {
			procs = w.procsByPid()
		}
		proc, found := procs[slot.Pid]
		if !ok || slot.Terminate || !found || proc.Activity().DatabaseOID != databaseOID {
			continue
		}
		h := Handle{incarnation: w.segment.Incarnation(), slot: uint32(i), generation: slot.Generation}
		if err := w.TerminateBackgroundWorker(h); err == nil {
			terminated++
		}
	}
	return terminated
}
