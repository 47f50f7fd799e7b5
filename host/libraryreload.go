package host

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// libraryReload is the loading again of a library that is under way.
type libraryReload struct {
	id     uint64 // of the request
	name   string // as it was asked for
	wait   *preloadWait
	answer control.Reload
}

// takeReload begins with what was asked for last, unless it was taken up before.
// While a reload is under way the next one waits: it is looked for again at the
// end of this one.
func (h *host) takeReload() {
	id, name, ok := h.segment.ReloadRequest()
	if !ok || id == h.reloadID || h.reloading != nil {
		return
	}
	h.reloadID = id
	h.reloading = &libraryReload{id: id, name: name}
	h.step(postmaster.LibraryReloadRequested{Name: name})
}

// spawnPreload starts the process that runs the Init.
func (h *host) spawnPreload(cmd postmaster.Spawn) {
	startup := h.startup()
	startup.Preload = []string{cmd.Preload}
	h.reloading.wait = h.newPreloadWait(cmd.Child, cmd.Preload, func() {
		h.children.start(cmd.Child, shmem.ProcPreload, "preload", startup, h.request(cmd.Preload))
	})
	h.reloading.wait.begin()
}

// awaits reports whether a child is that of the reload, which may be nil.
func (r *libraryReload) awaits(child postmaster.ChildID) bool {
	return r != nil && r.wait != nil && r.wait.child == child
}

// preloadRetry tries to start the process again. The core, to which it is still
// being started, hears about it now if the host has something else to do.
func (h *host) preloadRetry(w *preloadWait) {
	if refusal := h.machine.AcceptsReload(); refusal != nil {
		h.step(postmaster.Spawned{Child: w.child, Err: refusal})
		return
	}
	w.begin()
}

// preloadStarted tells the process what it is for, now that it is known which
// library that is. One that is not preloaded has nothing to register: its Init
// only has to succeed.
func (h *host) preloadStarted(p *process, ev started) {
	registrar := ""
	if l := h.preloadedAs(h.reloading.name, ev.result.library); l != nil {
		registrar = l.name
	}
	ev.startup.CheckOnly = registrar == ""
	ev.startup.Registered = h.registeredBeside(registrar)
	h.reloading.wait.started(p, ev)
}

// preloadedAs returns the library of shared_preload_libraries that is meant by a
// name, or leads to the same place, or nil.
func (h *host) preloadedAs(name string, found *foundLibrary) *loadedLibrary {
	for _, l := range h.libraries {
		if l.name == name {
			return l
		}
	}
	for _, l := range h.libraries {
		if found != nil && l.found.is(found) {
			return l
		}
	}
	return nil
}

// judgeReload goes on when the Init has run: with the settings, and then with the
// core, which has the workers.
func (h *host) judgeReload() {
	r := h.reloading
	if r == nil || r.wait == nil || !r.wait.over() {
		return
	}
	r.wait.close()
	failpoint.Here(failpoint.LibraryReloading)
	result, err := r.wait.outcome()
	if refusal := h.machine.AcceptsReload(); refusal != nil {
		err = refusal // and most likely the reason
	}
	if err != nil {
		h.answerReload(postmaster.AnswerReload{Err: err})
		return
	}
	ev, err := h.loadAgain(r, result)
	if err != nil {
		h.answerReload(postmaster.AnswerReload{Err: err})
		return
	}
	h.step(ev)
}

// loadAgain puts a library in the place of what it was, but for its workers.
func (h *host) loadAgain(r *libraryReload, result *preload) (postmaster.LibraryReloaded, error) {
	ev := postmaster.LibraryReloaded{Names: []string{r.name}, Places: slices.Clone(result.library.places)}
	r.answer.Is = result.library.build()
	old := h.preloadedAs(r.name, &result.library)
	if old == nil {
		r.answer.Reports = result.Reports
		return ev, nil
	}
	next := &loadedLibrary{name: old.name}
	changes, reports, err := h.acceptPreload(next, old.settings, result)
	if err != nil {
		return ev, err
	}
	for i := range h.libraries {
		if h.libraries[i] == old {
			h.libraries[i] = next
		}
	}
	r.answer.Preloaded, r.answer.Settings, r.answer.Reports = true, changes, reports
	for _, refused := range result.Refused {
		r.answer.Refused = append(r.answer.Refused, control.RefusedWorker{Name: refused.Worker.Name, Message: refused.Message})
	}
	if old.leftOut == nil {
		was := old.found.build()
		r.answer.Was = &was
		ev.Places = append(ev.Places, old.found.places...)
	}
	ev.Names, ev.Registrar, ev.Static = append(ev.Names, old.name), old.name, next.static
	h.saveSettings()
	return ev, nil
}

// answerReload tells what has become of a reload: the log, and those who wait
// for the answer. Then the next one may begin.
func (h *host) answerReload(cmd postmaster.AnswerReload) {
	r := h.reloading
	if r == nil {
		return
	}
	h.reloading = nil
	if r.wait != nil {
		r.wait.close()
	}
	r.answer.ID = r.id
	if cmd.Err != nil {
		r.answer = control.Reload{ID: r.id, Error: notReloaded(r.name, cmd.Err)}
		h.log.Emit(elog.AsErrorData(r.answer.Error, elog.Log))
	} else {
		for _, report := range r.answer.Reports {
			h.log.Emit(report)
		}
		h.log.Logf(elog.Log, "library \"%s\" was loaded again from %s", r.name, r.answer.Is)
	}
	for _, w := range cmd.Workers {
		r.answer.Workers = append(r.answer.Workers, control.ReloadedWorker{
			Worker: w.Worker.Descriptor(), Slot: w.Slot, Generation: w.Generation, Announced: w.Announced, Pid: w.Pid, Started: w.Started, Fate: w.Fate, Changed: w.Changed,
		})
	}
	h.reloaded = &r.answer
	h.saveLibraries()
	failpoint.Here(failpoint.LibraryReloaded)
	h.segment.AnswerReload(r.id)
	h.children.poke(control.ServerName)
	h.segment.SendPostmasterSignal(h.alarm, shmem.PMSignalLibraryReload) // there may be another
}

// notReloaded words the failure of a reload.
func notReloaded(name string, err error) *elog.ErrorData {
	report := elog.AsErrorData(err, elog.Error)
	var inner *elog.ErrorData
	if errors.As(err, &inner) {
		report = elog.AsErrorData(inner, elog.Error)
	}
	report.Message = fmt.Sprintf("library \"%s\" was not reloaded: %s", name, report.Message)
	report.Cause = nil // for this process only
	return report
}
