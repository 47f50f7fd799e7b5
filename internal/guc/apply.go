package guc

import (
	"strings"
	"unicode/utf8"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Override sets a variable of any context, of Internal too, to what the process
// itself has found out. The error, if any, is an *elog.ErrorData of level
// ERROR. Mirrors SetConfigOption with PGC_INTERNAL and PGC_S_OVERRIDE.
func (s *Store) Override(name, text string) error {
	s.lock()
	defer s.writer.Unlock()
	if _, problem := s.apply(Item{Name: name, Value: text, Source: SourceOverride}, Internal); problem != nil {
		return problem
	}
	return nil
}

// apply sets the variable an item names, or a placeholder for it. Mirrors
// set_config_option; the report, if any, has the level ERROR.
func (s *Store) apply(it Item, context Context) (changed bool, problem *elog.ErrorData) {
	v, problem := s.findOrPlace(it)
	if problem != nil {
		return false, problem
	}
	changed, problem = s.set(v, it, context)
	if problem != nil {
		problem = it.at(problem)
	}
	return changed, problem
}

// set gives a variable the value that an item says, if the context, the
// item's source and the variable's definition let it. changed means that the
// variable's value is another one now.
func (s *Store) set(v *variable, it Item, context Context) (changed bool, problem *elog.ErrorData) {
	if v.def.Context == Internal && context != Internal {
		return false, elog.New(elog.Error, elog.CantChangeRuntimeParam, "parameter \"%s\" cannot be changed", v.def.Name)
	}
	// An overridden text is checked all the same: a file that is wrong today
	// keeps the host from starting on the day the override goes.
	if !utf8.ValidString(it.Value) {
		return false, notUTF8(v.def.Name)
	}
	value, problem := v.def.parse(it.Value)
	if problem != nil {
		return false, problem
	}
	old := v.state.Load()
	if old.source > it.Source {
		return false, nil
	}
	if context == Sighup {
		if v.def.Context == Postmaster {
			return false, v.compareFixed(old, it, value)
		}
		if s.isFrozen(v) {
			return false, nil
		}
	}
	v.def.assign(value)
	next := &state{value: value, source: it.Source}
	next.locate(it)
	v.state.Store(next)
	return old.value.String() != value.String(), nil // -0 and 0 are equal, but not the same
}

// notUTF8 refuses bytes that could not travel to other processes unchanged.
func notUTF8(name string) *elog.ErrorData {
	return elog.New(elog.Error, elog.CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\" in value of parameter \"%s\"", name)
}

// isFrozen reports whether a reload passes over the variable, because it is to
// hold for processes that start later only.
func (s *Store) isFrozen(v *variable) bool {
	return s.isChild && (v.def.Context == Backend || v.def.Context == SuperuserBackend)
}

// compareFixed compares what a reload says with the value that only a restart
// can change, and remembers whether one is pending.
func (v *variable) compareFixed(old *state, it Item, value Value) *elog.ErrorData {
	if v.markPending(old.value != value) {
		return v.needsRestart()
	}
	if old.source == it.Source {
		next := *v.state.Load()
		next.locate(it)
		v.state.Store(&next)
	}
	return nil
}

// markPending remembers whether the files want a value that only a restart can
// bring.
func (v *variable) markPending(pending bool) bool {
	if next := *v.state.Load(); next.pendingRestart != pending {
		next.pendingRestart = pending
		v.state.Store(&next)
	}
	return pending
}

func (v *variable) needsRestart() *elog.ErrorData {
	return elog.New(elog.Error, elog.CantChangeRuntimeParam, "parameter \"%s\" cannot be changed without restarting the server", v.def.Name)
}

// locate remembers where the value was written.
func (st *state) locate(it Item) {
	if it.Source == SourceFile {
		st.file, st.line = it.File, it.Line
	}
}

// findOrPlace returns the variable an item names, and makes a placeholder for
// a custom one that doesn't exist. Mirrors find_option.
func (s *Store) findOrPlace(it Item) (*variable, *elog.ErrorData) {
	if v := s.find(it.Name); v != nil {
		return v, nil
	}
	if !strings.Contains(it.Name, ".") {
		return nil, s.unrecognized(it)
	}
	if !validName(it.Name) {
		return nil, it.at(invalidCustomName(it.Name))
	}
	if refusal := s.RefuseName(it.Name); refusal != nil {
		return nil, it.at(refusal)
	}
	v := newPlaceholder(it.Name)
	s.vars.Store(foldName(it.Name), v)
	return v, nil
}

// RefuseName says why no placeholder of a name can be made: its prefix is reserved
// for a library that doesn't define it. It returns nil for all other names. Mirrors
// assignable_custom_variable_name.
func (s *Store) RefuseName(name string) *elog.ErrorData {
	if s.find(name) != nil || !isCustom(name) {
		return nil
	}
	prefix, _, _ := strings.Cut(foldName(name), ".")
	if reserved := s.reservation(prefix); reserved != nil {
		return s.suggest(invalidName(name).WithDetail("\"%s\" is a reserved prefix.", reserved.prefix), name)
	}
	return nil
}

// IsReserved reports whether the prefix of a name is reserved: only a library can
// define it, and others like it.
func (s *Store) IsReserved(name string) bool {
	prefix, _, found := strings.Cut(foldName(name), ".")
	if !found {
		return false
	}
	s.lock()
	defer s.writer.Unlock()
	return s.reservation(prefix) != nil
}

// unrecognized is the report about a name that no variable has.
func (s *Store) unrecognized(it Item) *elog.ErrorData {
	e := elog.New(elog.Error, elog.UndefinedObject, "unrecognized configuration parameter \"%s\"", it.Name)
	if it.Source == SourceFile && it.File != "" {
		e = elog.New(elog.Error, elog.UndefinedObject,
			"unrecognized configuration parameter \"%s\" in file \"%s\" line %d", it.Name, it.File, it.Line)
	}
	return s.suggest(e, it.Name)
}

// suggest adds a hint if the name looks like a misspelling of another.
func (s *Store) suggest(e *elog.ErrorData, name string) *elog.ErrorData {
	if names := s.defined.Load(); names != nil {
		if meant := closest(name, *names); meant != "" {
			e.Hint = "Perhaps you meant \"" + meant + "\"."
		}
	}
	return e
}
