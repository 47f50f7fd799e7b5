//go:build linux

package integration

import (
	"slices"

	fp "github.com/pgexthost/pgexthost/internal/failpoint"
)

// failures is the table: who is killed at which point, on whose way.
func failures() []failure {
	return slices.Concat(startFailures(), launchFailures(), childFailures(), registrationFailures(), exitFailures(), crashFailures(), shutdownFailures())
}

// hostAt kills the host when a point is passed for the nth time.
func hostAt(nth int, points ...fp.Point) (all []failure) {
	for _, p := range points {
		all = append(all, failure{at: p, nth: nth})
	}
	return all
}

// hostOf kills the host when a point is passed by a child, or on its behalf.
func hostOf(child string, points ...fp.Point) (all []failure) {
	for _, p := range points {
		all = append(all, failure{at: p, of: child})
	}
	return all
}

// childAt kills the child.
func childAt(child string, points ...fp.Point) []failure {
	return with(func(f *failure) { f.child = true }, hostOf(child, points...))
}

// either kills the host or the child.
func either(child string, points ...fp.Point) []failure {
	return append(hostOf(child, points...), childAt(child, points...)...)
}

// with changes failures.
func with(change func(*failure), all ...[]failure) []failure {
	changed := slices.Concat(all...)
	for i := range changed {
		change(&changed[i])
	}
	return changed
}

func nth(n int) func(*failure)                { return func(f *failure) { f.nth = n } }
func inScope(scope string) func(*failure)     { return func(f *failure) { f.scope = scope } }
func inCrash(f *failure)                      { f.crash = true }
func atReload(f *failure)                     { f.reload = true }
func atServer(f *failure)                     { f.server = true }
func afterTheDeathOf(s string) func(*failure) { return func(f *failure) { f.also = s } }

// The files that are replaced, in their order, and the statuses.
const (
	optsFile = 1 + iota
	settingsFile
	librariesFile
	settingsFileAgain
	librariesFileAgain // the reload of a library writes it once more
)

const (
	ready = 1 + iota
	stopping
)

func startFailures() []failure {
	return slices.Concat(
		hostAt(1, fp.StartLocked, fp.LockFileWritten, fp.LockFileMade, fp.RemnantsRemoved, fp.SharedMemoryMade, fp.PreloadRead, fp.TracesLeft, fp.CoreStarting),
		hostAt(optsFile, fp.FileWritten),
		hostAt(settingsFile, fp.FileWritten),
		hostAt(librariesFile, fp.FileWritten),
		hostAt(ready, fp.StatusWriting, fp.StatusWritten),
		either("preload", fp.Forked, fp.Born, fp.ChildStarted, fp.StartupRead, fp.Attached, fp.HelloSending, fp.HelloSent, fp.ResultSending, fp.ResultSent),
		hostOf("preload", fp.ExitSeen, fp.LastWordsRead, fp.Reaped),
		with(atReload, hostAt(1, fp.ReloadRead), hostAt(settingsFileAgain, fp.FileWritten), hostAt(librariesFileAgain, fp.FileWritten), hostOf("control server", fp.Signalling, fp.Signalled)),
		with(atReload, either("control server", fp.ReloadRequested), hostAt(1, fp.LibraryReloading, fp.LibraryReloaded),
			with(nth(2), hostOf("preload", fp.Forked, fp.Born, fp.ResultSent, fp.ExitSeen, fp.Reaped))),
	)
}

// launchFailures are at the host's side of a start. The preload child is the
// first to be started, the control server the second.
func launchFailures() []failure {
	return slices.Concat(
		hostAt(1, fp.Forking, fp.StartupSent, fp.HelloRead),
		hostAt(2, fp.Forking, fp.StartupSent, fp.HelloRead),
		hostAt(5, fp.Forking, fp.StartupSent, fp.HelloRead), // a dynamic worker
		either("driver", fp.Forked, fp.Born, fp.SlotPidStored, fp.Greeting, fp.Greeted),
		either("control server", fp.Forked, fp.Born, fp.Greeting, fp.Greeted),
		either("d", fp.Forked, fp.Born, fp.SlotPidStored, fp.Greeting, fp.Greeted),
		either("driver", fp.Notifying, fp.Notified),                            // of a start
		with(nth(2), either("driver", fp.Notifying, fp.Notified)),              // of an end
		with(inScope("cluster"), childAt("d", fp.Forked, fp.Born, fp.Greeted)), // a crash cycle within a launch pass
	)
}

// childFailures are at the child's side of its start and its end.
func childFailures() []failure {
	return slices.Concat(
		either("driver", fp.ChildStarted, fp.StartupRead, fp.Attached, fp.HelloSending, fp.HelloSent, fp.Preloaded, fp.Unready, fp.Ready),
		childAt("d", fp.ChildStarted, fp.HelloSending, fp.HelloSent, fp.Preloaded, fp.Unready, fp.Ready),
		childAt("control server", fp.ChildStarted, fp.HelloSent, fp.Unready, fp.Ready),
		either("control server", fp.SocketRemoved, fp.SocketMade, fp.RequestRead),
		either("d", fp.Dying, fp.MainReturned, fp.Unmarked, fp.Marked),
		either("h", fp.AtGate),
		either("e", fp.ExitErrorLeft, fp.Unmarked),
		with(inScope("cluster"), childAt("d", fp.Ready, fp.Dying, fp.Marked)),
		with(atServer,
			either("server monitor", fp.ServerStateFound, fp.ServerStateTold),
			either("client", fp.SessionOpened, fp.SessionRecorded)),
	)
}

func registrationFailures() []failure {
	locked := []fp.Point{fp.ClaimLocked, fp.ClaimDescribed, fp.ClaimPid, fp.ClaimGeneration, fp.ClaimCounted, fp.ClaimInUse, fp.TerminateLocked, fp.TerminateSet, fp.GateOpened}
	unlocked := []fp.Point{fp.LockReleased, fp.Claimed, fp.ReasonLeft, fp.AlarmRung, fp.TerminateAsked, fp.HeldRegistered}
	return slices.Concat(
		either("driver", locked...),
		either("driver", unlocked...),
		with(nth(2), either("driver", fp.LockReleased, fp.ReasonLeft, fp.AlarmRung)), // of a termination
		with(inScope("worker"), childAt("driver", locked...), childAt("driver", unlocked...)),
		with(inScope("cluster"), childAt("driver", locked...), childAt("driver", unlocked...)),
		hostAt(1, fp.ChangesTaken),
		hostAt(2, fp.ChangesTaken),
	)
}

func exitFailures() []failure {
	return slices.Concat(
		hostOf("d", fp.ExitSeen, fp.LastWordsRead, fp.Reaped),
		hostAt(4, fp.SlotPidStored), // driver, steady, d, and d again
		hostAt(1, fp.SlotReleasing, fp.SlotReleased),
		hostAt(2, fp.SlotReleasing, fp.SlotReleased),
	)
}

func crashFailures() []failure {
	const children = 8 // are started up to the crash: preload, control server, steady, driver, d, p, e, h
	return slices.Concat(
		with(inScope("worker"), with(afterTheDeathOf("claim: in use/driver=kill child"), hostAt(1, fp.LocksBreaking, fp.LocksBroken))),
		with(inCrash,
			hostOf("steady", fp.ExitSeen, fp.LastWordsRead, fp.Reaped),
			either("driver", fp.Signalling, fp.Signalled),
			either("control server", fp.Signalling, fp.Signalled),
			hostOf("driver", fp.ExitSeen, fp.Reaped),
			hostAt(1, fp.Remaking, fp.SegmentRemade, fp.Remade),
			hostAt(3, fp.SlotInitialised), // the first after the crash
			hostAt(children+1, fp.Forking, fp.StartupSent, fp.HelloRead),
			with(nth(2), either("driver", fp.Forked, fp.Greeted, fp.Ready, fp.ClaimInUse, fp.Claimed)),
		),
		hostAt(1, fp.SlotInitialised),
	)
}

func shutdownFailures() []failure {
	return slices.Concat(
		hostAt(1, fp.ShutdownAsked, fp.Finishing, fp.LifelineClosed, fp.TracesRemoved, fp.LockFileRemoved),
		hostAt(stopping, fp.StatusWriting, fp.StatusWritten),
		either("d", fp.Signalling, fp.Signalled), // its termination
		either("driver", fp.Signalling, fp.Signalled, fp.Dying, fp.MainReturned, fp.Unmarked, fp.Marked),
		hostOf("driver", fp.ExitSeen, fp.LastWordsRead, fp.Reaped),
		either("control server", fp.Signalling, fp.Signalled, fp.Dying, fp.MainReturned, fp.Marked),
		hostOf("control server", fp.ExitSeen, fp.Reaped),
	)
}
