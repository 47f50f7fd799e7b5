package host

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// loop is the server loop: one event at a time into the core, its commands out
// into the world. Mirrors ServerLoop.
func (h *host) loop() int {
	h.step(h.configured())
	h.log.Logf(elog.Log, "extension host is ready") // before the lock file says so
	failpoint.Here(failpoint.CoreStarting)
	h.step(postmaster.Started{})
	h.service.ready()
	done := h.ctx.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !h.finished {
		timer.Reset(h.untilWake())
		h.service.tend(time.Now(), h.machine.Census)
		select {
		case ev := <-h.events:
			h.dispatch(ev)
		case <-h.signals.smart:
			h.shutDown(postmaster.SmartShutdown)
		case <-h.signals.fast:
			h.shutDown(postmaster.FastShutdown)
		case <-h.signals.immediate:
			h.shutDown(postmaster.ImmediateShutdown)
		case <-h.signals.reload:
			h.service.reload()
			h.step(postmaster.ReloadRequested{})
			h.service.reloaded()
		case <-h.signals.orphans:
			reapOrphans(h.log)
		case <-done:
			done = nil // once is enough
			h.shutDown(postmaster.FastShutdown)
		case <-timer.C:
			h.step(postmaster.Tick{})
		case <-h.service.due():
		}
	}
	h.service.stop()
	h.log.Logf(elog.Log, "extension host is shut down")
	return h.exitCode
}

func (h *host) shutDown(mode postmaster.ShutdownMode) {
	failpoint.Here(failpoint.ShutdownAsked)
	h.segment.RefuseSessions()
	h.step(postmaster.ShutdownRequested{Mode: mode})
}

// untilWake returns how long the loop may sleep; the core bounds it.
func (h *host) untilWake() time.Duration {
	wake, ok := h.machine.NextWake()
	if !ok {
		return 0 // only before the first step
	}
	return max(time.Until(wake), 0)
}

// dispatch translates what the goroutines report into events of the core.
func (h *host) dispatch(ev any) {
	switch ev := ev.(type) {
	case started:
		h.started(ev)
	case shakenHands:
		h.children.greeted(ev.child, ev.err)
	case goneQuiet:
		h.children.fail(ev.child, ev.err)
	case preloaded:
		ev.wait.take(ev)
		h.judgeReload()
	case tooLate:
		ev.wait.tooLate()
	case fileWasBusy:
		h.preloadRetry(ev.wait)
	case exited:
		if end, ok := h.children.buried(ev.child); ok {
			h.step(end)
			if h.reloading.awaits(ev.child) {
				h.reloading.wait.exited(end)
				h.judgeReload()
			}
			if !end.Clean { // it may have had no time to say what it has done to the slots
				h.step(postmaster.SlotsChanged{})
			}
		}
	case rung:
		h.checkSignals()
	}
}

// started tells the core of a process that was started, or could not be, and lets
// it go on.
func (h *host) started(ev started) {
	p, err := h.children.born(ev), ev.result.err
	if p == nil && h.reloading.awaits(ev.child) {
		if h.reloading.wait.triesAgain(err) {
			return
		}
		err = notStarted(h.reloading.name, ev.result)
	}
	var places []string
	if ev.result.library != nil {
		places = ev.result.library.places
	}
	h.step(postmaster.Spawned{Child: ev.child, Pid: ev.result.pid, Places: places, Err: err, Transient: transient(err)})
	switch {
	case p == nil:
	case p.preload:
		h.preloadStarted(p, ev)
	default:
		ev.startup.Preload = h.preloadedBy(ev.result.library)
		// Only now may the child go on: its slot tells its pid already.
		h.children.greet(p, ev.startup, h.store.Duration(settings.LibraryInitTimeout))
	}
}

// checkSignals looks for the reasons why a child has rung. Mirrors
// process_pm_pmsignal.
func (h *host) checkSignals() {
	if h.segment.TakePostmasterSignal(shmem.PMSignalServerState) {
		if state, since, err := h.segment.ServerState(); err != nil {
			h.log.Logf(elog.Log, "%v", err)
			h.children.poke(postmaster.ServerMonitor) // it knows better
		} else {
			h.step(postmaster.ServerStateChanged{State: state, Started: since})
		}
	}
	if h.segment.TakePostmasterSignal(shmem.PMSignalBackgroundWorkerChange) {
		changed := h.slots.TakeChanges()
		failpoint.Here(failpoint.ChangesTaken)
		h.step(postmaster.SlotsChanged{Slots: changed})
	}
	if h.segment.TakePostmasterSignal(shmem.PMSignalSessionsEnded) {
		h.step(postmaster.SessionsEnded{})
	}
	if h.segment.TakePostmasterSignal(shmem.PMSignalLibraryReload) {
		h.takeReload()
	}
	if h.segment.TakePostmasterSignal(shmem.PMSignalPing) {
		h.answerPings()
	}
}

// step gives one event to the core and carries out what it decides, then does
// the same with the events that came of that.
func (h *host) step(ev postmaster.Event) {
	for events := []postmaster.Event{ev}; len(events) > 0; events = events[1:] {
		commands := h.machine.Step(time.Now(), events[0])
		h.publishStatistics() // before the log tells of what was counted
		for _, cmd := range commands {
			if answer := h.execute(cmd); answer != nil {
				events = append(events, answer)
			}
		}
	}
	h.noteRegistrations()
}

// execute carries out a command, and returns the event that must follow it, or
// nil.
func (h *host) execute(cmd postmaster.Command) (answer postmaster.Event) {
	switch cmd := cmd.(type) {
	case postmaster.Spawn:
		h.spawn(cmd)
	case postmaster.Signal:
		if p := h.children.byID[cmd.Child]; p != nil {
			failpoint.Of(failpoint.Signalling, p.pid)
			p.send(cmd.Sig)
			failpoint.Of(failpoint.Signalled, p.pid)
		}
	case postmaster.Notify:
		failpoint.Of(failpoint.Notifying, cmd.Pid)
		_ = unix.Kill(cmd.Pid, unix.SIGUSR1)
		failpoint.Of(failpoint.Notified, cmd.Pid)
	case postmaster.InitSlot:
		h.slots.Init(cmd.Slot, cmd.Worker.Descriptor())
		failpoint.Here(failpoint.SlotInitialised)
	case postmaster.SetSlotPid:
		h.slots.SetPid(cmd.Slot, cmd.Pid)
		failpoint.Of(failpoint.SlotPidStored, cmd.Pid)
	case postmaster.ReleaseSlot:
		if cmd.Generation != 0 {
			h.slots.Skip(cmd.Slot, cmd.Generation)
		}
		failpoint.Here(failpoint.SlotReleasing)
		h.slots.Release(cmd.Slot, cmd.Parallel)
		failpoint.Here(failpoint.SlotReleased)
	case postmaster.RestoreSlot:
		h.slots.Restore(cmd.Slot, cmd.Generation, cmd.Pid, cmd.Worker.Descriptor())
	case postmaster.RestoreHeader:
		h.segment.WriteConstants()
	case postmaster.Log:
		h.log.Emit(cmd.ErrorData)
	case postmaster.Poke:
		h.children.poke(cmd.Aux)
	case postmaster.Reload:
		h.reload()
		return h.configured()
	case postmaster.AnswerReload:
		h.answerReload(cmd)
	case postmaster.SetReport:
		h.slots.SetReport(cmd.Slot, cmd.Report)
	case postmaster.Bury:
		h.segment.Bury(shmem.Buried{At: time.Now(), Worker: cmd.Worker.Descriptor(), Report: cmd.Report})
	case postmaster.Reinitialize:
		failpoint.Here(failpoint.Remaking)
		if err := h.remakeSharedMemory(); err != nil {
			h.log.Emit(elog.AsErrorData(err, elog.Fatal))
			h.finished, h.exitCode = true, 1
		}
		failpoint.Here(failpoint.Remade)
	case postmaster.BreakLocks:
		failpoint.Here(failpoint.LocksBreaking)
		h.segment.BreakSlotLock(cmd.Pid)
		failpoint.Here(failpoint.LocksBroken)
	case postmaster.SetStatus:
		h.setStatus(cmd.Status)
	case postmaster.CheckLockFile:
		if !h.recheckLockFile() {
			return postmaster.LockFileInvalid{}
		}
	case postmaster.Exit:
		failpoint.Here(failpoint.Finishing)
		h.finished, h.exitCode = true, cmd.Code
	}
	return nil
}

func (h *host) spawn(cmd postmaster.Spawn) {
	if cmd.Preload != "" {
		h.spawnPreload(cmd)
		return
	}
	startup := h.startup()
	if cmd.Aux != "" {
		startup.Auxiliary = cmd.Aux
		h.children.start(cmd.Child, shmem.ProcAuxiliary, cmd.Aux, startup, nil)
		return
	}
	d := cmd.Worker.Descriptor()
	startup.Worker, startup.Slot, startup.Generation, startup.Ready = &d, cmd.Slot, cmd.Generation, handshake.ClockAt(cmd.Ready)
	h.children.start(cmd.Child, shmem.ProcWorker, cmd.Worker.Name, startup, h.request(cmd.Worker.EntryLibrary()))
}

// startup is what every child is told of the settings.
func (h *host) startup() handshake.Startup {
	return handshake.Startup{Settings: h.store.Items(), ConfigFile: h.dir.configFile()}
}
