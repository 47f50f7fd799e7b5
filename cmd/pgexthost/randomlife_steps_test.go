package main

// step is something that can befall a host.
type step struct {
	name   string
	weight int
	when   func(*walk) bool
	take   func(*walk)
}

// steps are all there are. They are in a function because they lead back to it.
func steps() []step {
	always := func(*walk) bool { return true }
	canStart := func(w *walk) bool { return !w.held() || w.isPatient() }
	isAbsent := func(w *walk) bool { return w.phase == absent && !w.held() }
	isThere := func(w *walk) bool { return w.phase != absent }
	isRunning := func(w *walk) bool { return w.phase == running }
	isUnhindered := func(w *walk) bool { return w.phase == running && len(w.frozen) == 0 }
	isBroken := func(w *walk) bool { return w.broken }
	hasFrozen := func(w *walk) bool { return len(w.frozen) > 0 }
	hasNoLockFile := func(w *walk) bool { return w.phase == absent && w.remains == nothing }
	isUnreadable := func(w *walk) bool { return w.phase == absent && w.remains.unreadable() }
	return []step{
		{"start", 10, canStart, func(w *walk) { w.start("-w") }},
		{"start without waiting", 6, canStart, func(w *walk) { w.start("-W") }},
		{"start without any time", 3, canStart, func(w *walk) { w.start("-t0") }},
		{"run in the foreground", 4, canStart, runInForeground},
		{"two starts at once", 5, canStart, startTwice},
		{"kill during start", 8, (*walk).startable, killDuringStart},
		{"signal during start", 6, (*walk).startable, signalDuringStart},
		{"Ctrl-C during start", 6, (*walk).startable, interruptStart},
		{"stop", 10, always, (*walk).stop},
		{"stop without waiting", 4, isUnhindered, stopWithoutWaiting},
		{"two stops at once", 3, isUnhindered, stopTwice},
		{"start during stop", 8, isUnhindered, startDuringStop},
		{"kill during stop", 8, isUnhindered, killDuringStop},
		{"restart", 6, canStart, (*walk).restart},
		{"two restarts at once", 4, isUnhindered, restartTwice},
		{"kill during restart", 4, isUnhindered, killDuringRestart},
		{"signal the host", 4, isThere, signalHost},
		{"kill the host", 5, isThere, killHost},
		{"reload", 8, always, (*walk).reload},
		{"show the configuration", 3, always, showConfig},
		{"break the configuration", 4, always, breakConfig},
		{"repair the configuration", 12, isBroken, (*walk).repairConfig},
		{"kill a child", 6, isThere, killChild},
		{"stop a child", 2, isRunning, freezeChild},
		{"let children go on", 12, hasFrozen, (*walk).thaw},
		{"kill a stopped child", 4, hasFrozen, killFrozen},
		{"take the lock file away", 3, isUnhindered, takeLockFile},
		{"put another lock file there", 3, isUnhindered, replaceLockFile},
		{"spoil the lock file", 4, hasNoLockFile, spoilLockFile},
		{"remove the lock file", 12, isUnreadable, (*walk).removeLockFile},
		{"spoil the options", 2, isAbsent, spoilOptions},
	}
}
