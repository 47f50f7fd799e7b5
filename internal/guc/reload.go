package guc

import (
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// ApplyReload sets the variables to what the files say after SIGHUP, and those
// that have gone from the files to their defaults. Items of the command line
// are passed over: it can't change. It returns all there is to log,
// conf.Reports included, at LOG in the postmaster and at DEBUG2 in a child,
// except for what only the child can know, which is at LOG: that a check hook of
// a library refused a value, and what is wrong with settings of libraries loaded
// after [Store.EndStartup]. A file that can't be read without error, or a name
// that doesn't exist, means that nothing is applied; a value that can't be set
// is passed over. Mirrors ProcessConfigFile(PGC_SIGHUP).
func (s *Store) ApplyReload(conf Config) []*elog.ErrorData {
	s.lock()
	defer s.writer.Unlock()
	r := reload{store: s, items: s.lastInFiles(conf.Items), level: elog.Log, badFile: conf.BadFile}
	if s.isChild {
		r.level = elog.Debug2
	}
	for _, e := range conf.Reports {
		r.add(e)
	}
	r.checkNames()
	if r.badFile != "" {
		r.add(containsErrors(r.level, r.badFile, "; no changes were applied"))
		return r.reports
	}
	r.reset(conf.File)
	r.set()
	if r.badFile != "" {
		r.add(containsErrors(r.level, r.badFile, "; unaffected changes were applied"))
	}
	return r.reports
}

// reload is one run of ApplyReload.
type reload struct {
	store   *Store
	items   []Item
	level   elog.Level
	reports []*elog.ErrorData
	badFile string // the last file that something was wrong with
}

// add reports at the level of this process, whatever the level of e.
func (r *reload) add(e *elog.ErrorData) { r.addAs(e, r.level) }

func (r *reload) addAs(e *elog.ErrorData, level elog.Level) {
	r.reports = append(r.reports, elog.AsErrorData(e, level))
}

// levelFor is the level at which this process reports why a variable can't have
// the value of the files. A child is quiet about what the postmaster reports as
// well, but the postmaster has no library's hooks, and knows nothing of
// libraries that the child has loaded by itself.
func (r *reload) levelFor(name string, problem *elog.ErrorData) elog.Level {
	v := r.store.find(name)
	switch {
	case v == nil:
		prefix, _, _ := strings.Cut(foldName(name), ".")
		if reserved := r.store.reservation(prefix); reserved != nil && reserved.late {
			return elog.Log
		}
	case v.late || isCustom(name) && IsHookRefusal(problem):
		return elog.Log
	}
	return r.level
}

func (r *reload) addf(format string, args ...any) {
	r.add(elog.New(r.level, elog.SuccessfulCompletion, format, args...))
}

// cannotExist reports whether no process can accept a name. Custom ones aren't
// among those, because not every process knows the same, and all processes must
// agree on whether a file is applied.
func (s *Store) cannotExist(name string) bool { return s.find(name) == nil && !isCustom(name) }

// checkNames looks for names that can't exist.
func (r *reload) checkNames() {
	bad := ""
	for _, it := range r.items {
		if r.store.cannotExist(it.Name) {
			r.add(r.store.unrecognized(it))
			bad = it.File
		}
	}
	if r.badFile == "" {
		r.badFile = bad
	}
}

// reset gives variables that have gone from the files their defaults.
func (r *reload) reset(mainFile string) {
	present := make(map[string]bool, len(r.items))
	for _, it := range r.items {
		present[foldName(it.Name)] = true
	}
	for _, v := range r.store.sorted() {
		if present[foldName(v.def.Name)] || r.store.isFrozen(v) {
			continue
		}
		isFromFile := v.state.Load().source == SourceFile
		switch {
		case v.def.Context < Sighup:
			// Also when the files only wanted another value for a while.
			if v.markPending(isFromFile) {
				r.add(v.needsRestart())
				r.badFile = mainFile
			}
		case isFromFile:
			r.toDefault(v)
		}
	}
}

// toDefault gives a variable its default, unless its hook refuses that now.
func (r *reload) toDefault(v *variable) {
	if problem := v.def.check(v.bootValue); problem != nil {
		r.addAs(problem, r.levelFor(v.def.Name, problem))
		return
	}
	v.def.assign(v.bootValue)
	v.state.Store(&state{value: v.bootValue})
	if v.placeholder {
		r.store.vars.Delete(foldName(v.def.Name))
	}
	if !r.store.isChild {
		r.addf("parameter \"%s\" removed from configuration file, reset to default", v.def.Name)
	}
}

// changed reports a new value, unless it may hold a password.
func (r *reload) changed(it Item) {
	if r.store.find(it.Name).def.Flags&FlagSecret != 0 {
		r.addf("parameter \"%s\" changed", it.Name)
		return
	}
	r.addf("parameter \"%s\" changed to \"%s\"", it.Name, it.Value)
}

// set applies the items, and tells which of them made a difference.
func (r *reload) set() {
	for _, it := range r.items {
		changed, problem := r.store.apply(it, Sighup)
		switch {
		case problem != nil:
			r.addAs(problem, r.levelFor(it.Name, problem))
			r.badFile = it.File
		case changed && !r.store.isChild:
			r.changed(it)
		}
	}
}
