//go:build linux

package integration

import (
	"fmt"
	"slices"

	fp "github.com/pgexthost/pgexthost/internal/failpoint"
	requestlauncher "github.com/pgexthost/pgexthost/sql/launcher"
)

// victim is who is killed at a step on the way of a request.
type victim string

const (
	theLauncher victim = "launcher"
	theHost     victim = "host"     // its children outlive it for a moment
	everybody   victim = "everyone" // the host with all its children
	theServer   victim = "server"
	theBackend  victim = "backend" // the launcher's: the server starts over
	theWorkers  victim = "workers" // all that requests have asked for
)

// requestKill is a kill -9 while a process stands still at a failpoint.
type requestKill struct {
	at     fp.Point
	of     string // the process that is there
	nth    int    // time that it passes; 0 is the first
	victim victim
	// alone: there is no other request than "once", so that the step is its own.
	alone bool
	// inCommit: it goes on first, to where its commit is done and the answer is not
	// there.
	inCommit bool
	// cancel: somebody terminates the request "once" first, which must not start
	// any more.
	cancel bool
	// takeOver: it is on a second host, when that takes the database over from
	// one that was killed.
	takeOver bool
}

func (k requestKill) spec() string { return fmt.Sprintf("%s/%s=stop@%d", k.at, k.of, max(k.nth, 1)) }

func (k requestKill) String() string {
	text := fmt.Sprintf("%s, %d, %s, kill %s", k.at, max(k.nth, 1), k.of, k.victim)
	if k.alone {
		text += ", alone"
	}
	if k.inCommit {
		text += ", in commit"
	}
	if k.cancel {
		text += ", cancel"
	}
	if k.takeOver {
		text += ", take-over"
	}
	return text
}

// losesMemory reports whether the host can't know afterwards what has become of
// its workers: it was killed itself, or the launcher while it held the slot lock,
// after which shared memory is made anew.
func (k requestKill) losesMemory() bool {
	return k.victim == theHost || k.victim == everybody || k.victim == theLauncher && slices.Contains(underSlotLock(), k.at)
}

func underSlotLock() []fp.Point {
	return []fp.Point{fp.ClaimLocked, fp.ClaimDescribed, fp.ClaimInUse, fp.GateOpened, fp.TerminateLocked, fp.TerminateSet}
}

// beforeMark reports whether the worker has surely left no mark of its beginning.
func (k requestKill) beforeMark() bool { return k.at == fp.AtGate || k.at == fp.GatePassed }

// requestKills is the table: who is killed where.
func requestKills() []requestKill {
	launcherAt := func(victims []victim, points ...fp.Point) []requestKill {
		return killsAt(requestlauncher.Name, victims, points...)
	}
	var (
		alone   = []victim{theLauncher, theHost, everybody}
		session = append(alone, theServer, theBackend)
		workers = append(session, theWorkers)
	)
	single := launcherAt(workers, fp.HeldRegistered, fp.StartWritten, fp.StartCommitted, fp.GateOpened, fp.GateWoken, fp.OutcomeWritten, fp.OutcomeCommitted)
	inCommit := changed(launcherAt(session, fp.StartWritten, fp.OutcomeWritten), func(k *requestKill) { k.inCommit = true })
	cancel := changed(launcherAt(session, fp.RequestsLoaded, fp.HeldRegistered, fp.StartCommitted), func(k *requestKill) { k.cancel = true })
	takeOver := changed(slices.Concat(
		launcherAt(session, fp.DatabaseLocked, fp.DatabaseTaken),
		launcherAt([]victim{theLauncher, everybody, theServer}, fp.RequestsLoaded, fp.StartWritten, fp.StartCommitted),
	), func(k *requestKill) { k.takeOver = true })
	return slices.Concat(
		launcherAt(alone, fp.JournalWritten, fp.JournalOpened, fp.IdentityWritten, fp.IdentityMade),
		launcherAt(session, fp.DatabaseLocked, fp.DatabaseTaken, fp.WorkersDeclared, fp.RequestsLoaded, fp.HeldRegistered, fp.SlotsPublished),
		launcherAt(workers, fp.StartWritten, fp.StartCommitted, fp.GateOpened, fp.GateWoken),
		launcherAt(session, fp.OutcomeWritten, fp.OutcomeCommitted, fp.MarkForgotten),
		launcherAt(alone, fp.ClaimLocked, fp.ClaimDescribed, fp.ClaimInUse),
		launcherAt(workers, fp.TerminateLocked, fp.TerminateSet, fp.TerminateAsked),
		killsAt("once", workers, fp.AtGate, fp.GatePassed, fp.BeginningMarked, fp.Ready, fp.MainReturned, fp.Marked),
		killsAt("stay", workers, fp.Dying),
		changed(slices.Concat(single, inCommit, cancel), func(k *requestKill) { k.alone = true }),
		takeOver,
	)
}

func changed(kills []requestKill, change func(*requestKill)) []requestKill {
	for i := range kills {
		change(&kills[i])
	}
	return kills
}

// firstKills are those of the table that no test run leaves out: each is lost
// without one of the rules.
func firstKills() []requestKill {
	return slices.DeleteFunc(requestKills(), func(k requestKill) bool {
		switch {
		case k.inCommit:
			return k.at != fp.StartWritten || k.victim != theServer
		case k.cancel, k.takeOver:
			return k.at != fp.StartCommitted || k.victim != everybody
		case k.alone:
			return (k.at != fp.StartWritten || k.victim != theServer) && (k.at != fp.StartCommitted || k.victim != everybody)
		}
		return k.at != fp.AtGate && k.at != fp.BeginningMarked || k.victim != everybody
	})
}

func killsAt(of string, victims []victim, points ...fp.Point) (all []requestKill) {
	for _, p := range points {
		for _, v := range victims {
			all = append(all, requestKill{at: p, of: of, victim: v})
		}
	}
	return all
}
