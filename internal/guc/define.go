package guc

import (
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Define adds a custom variable, at its default or at what an item said that
// was applied before. An item with a value that the definition refuses is
// reported as a WARNING and has no further effect. The error, if any, is an
// *elog.ErrorData: FATAL if the variable is of context Postmaster and
// [Store.EndStartup] was called, ERROR if the definition makes no sense or the
// name is taken; the store is then as before. def may come from a stranger.
// Mirrors define_custom_variable.
func (s *Store) Define(def Definition) (reports []*elog.ErrorData, err error) {
	s.lock()
	defer s.writer.Unlock()
	if def.Context == Postmaster && s.running {
		return nil, elog.New(elog.Fatal, elog.InternalError, "cannot create PGC_POSTMASTER variables after startup")
	}
	if !isCustom(def.Name) {
		return nil, invalidCustomName(def.Name)
	}
	old := s.find(def.Name)
	if old != nil && !old.placeholder {
		return nil, redefinition(def.Name)
	}
	v, problem := newVariable(def)
	if problem != nil {
		return nil, problem
	}
	v.late = s.isLate()
	v.def.assign(v.bootValue)
	if old != nil {
		reports = s.adopt(v, old)
	}
	s.add(v)
	return reports, nil
}

func redefinition(name string) *elog.ErrorData {
	return elog.New(elog.Error, elog.InternalError, "attempt to redefine parameter \"%s\"", name)
}

// adopt gives a variable the value of its placeholder.
func (s *Store) adopt(v, placeholder *variable) []*elog.ErrorData {
	st := placeholder.state.Load()
	it := Item{Name: v.def.Name, Value: st.value.String(), File: st.file, Line: st.line, Source: st.source}
	_, problem := s.set(v, it, Postmaster)
	if problem == nil {
		return nil
	}
	return []*elog.ErrorData{v.refused(it, problem)}
}

// refused says that a variable has its default, because of what is wrong with an
// item.
func (v *variable) refused(it Item, problem *elog.ErrorData) *elog.ErrorData {
	warning := elog.AsErrorData(it.at(problem), elog.Warning)
	if warning.Detail == "" {
		warning.Detail = "The parameter has its default, \"" + v.bootValue.Show() + "\", instead."
	}
	return warning
}

// MarkPrefixReserved says that all variables "prefix.…" are defined now. Those
// that have only been set are removed, each with a WARNING, and no other can be
// set from now on: so misspellings come to light. Mirrors
// MarkGUCPrefixReserved.
func (s *Store) MarkPrefixReserved(prefix string) []*elog.ErrorData {
	s.lock()
	defer s.writer.Unlock()
	return s.markReserved(prefix)
}

func (s *Store) markReserved(prefix string) []*elog.ErrorData {
	folded := foldName(prefix)
	if s.reservation(folded) == nil {
		s.reserved = append(s.reserved, reservation{prefix, s.isLate()})
	}
	var reports []*elog.ErrorData
	for _, v := range s.sorted() {
		key := foldName(v.def.Name)
		if !v.placeholder || !strings.HasPrefix(key, folded+".") {
			continue
		}
		s.vars.Delete(key)
		st := v.state.Load()
		it := Item{Name: v.def.Name, File: st.file, Line: st.line, Source: st.source}
		e := elog.New(elog.Warning, elog.InvalidName, "invalid configuration parameter name \"%s\", removing it", it.Name).
			WithDetail("\"%s\" is now a reserved prefix.", prefix)
		reports = append(reports, it.at(s.suggest(e, it.Name)))
	}
	return reports
}
