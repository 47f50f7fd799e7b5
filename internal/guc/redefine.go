package guc

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Registered is what a library has said about settings.
type Registered struct {
	Definitions []Definition
	Reserved    []string // prefixes of MarkGUCPrefixReserved
}

// Change is what has become of one setting of a library that was loaded again.
type Change struct {
	Name string     `json:"name"`
	Kind ChangeKind `json:"change"`
	Was  string     `json:"was"` // its value before, as SHOW prints it; empty of a new one, and of a secret
	Is   string     `json:"is"`  // likewise, from now on
}

// ChangeKind says what has become of a setting.
type ChangeKind string

// The kinds.
const (
	ChangeNew     ChangeKind = "new"
	ChangeChanged ChangeKind = "changed" // its definition, and perhaps its value
	ChangeGone    ChangeKind = "gone"    // nobody defines it any more
)

// Redefine puts what a library says now in the place of what it said before;
// nothing, if it was not loaded. What is new is defined, what has gone becomes a
// placeholder, if it was set. What is defined otherwise keeps its text, if the new
// definition takes it, and has the new default otherwise, with a report at
// WARNING. A setting that is of context Postmaster, before or after, keeps its
// value in any case that it can, with a report at LOG if a restart would bring
// another.
//
// The error, an *elog.ErrorData, says that a definition makes no sense, or that
// its name is another's: then nothing has changed. Both arguments may come from
// strangers. PostgreSQL can't load a library again.
func (s *Store) Redefine(was, is Registered) (changes []Change, reports []*elog.ErrorData, err error) {
	s.lock()
	defer s.writer.Unlock()
	own := make(map[string]bool, len(was.Definitions))
	for _, d := range was.Definitions {
		own[foldName(d.Name)] = true
	}
	fresh, problem := s.prepare(is.Definitions, own)
	if problem != nil {
		return nil, nil, problem
	}
	for _, prefix := range was.Reserved {
		s.reserved = slices.DeleteFunc(s.reserved, func(r reservation) bool { return foldName(r.prefix) == foldName(prefix) })
	}
	for _, d := range was.Definitions {
		if _, stays := fresh[foldName(d.Name)]; !stays {
			changes = append(changes, s.undefine(d.Name))
		}
	}
	for _, d := range is.Definitions {
		change, report := s.replace(fresh[foldName(d.Name)])
		if change != nil {
			changes = append(changes, *change)
		}
		reports = append(reports, report...)
	}
	for _, prefix := range is.Reserved {
		reports = append(reports, s.markReserved(prefix)...)
	}
	return changes, reports, nil
}

// prepare makes variables of definitions, by folded name.
func (s *Store) prepare(defs []Definition, own map[string]bool) (map[string]*variable, *elog.ErrorData) {
	fresh := make(map[string]*variable, len(defs))
	for _, d := range defs {
		key := foldName(d.Name)
		if !isCustom(d.Name) {
			return nil, invalidCustomName(d.Name)
		}
		if v := s.find(d.Name); fresh[key] != nil || v != nil && !v.placeholder && !own[key] {
			return nil, redefinition(d.Name)
		}
		v, problem := newVariable(d)
		if problem != nil {
			return nil, problem
		}
		v.late = s.isLate()
		fresh[key] = v
	}
	return fresh, nil
}

// undefine takes a variable away. What was set stays as a placeholder.
func (s *Store) undefine(name string) Change {
	v, key := s.find(name), foldName(name)
	if v == nil || v.placeholder {
		return Change{Name: name, Kind: ChangeGone} // it can't be: the caller has defined it
	}
	names := slices.DeleteFunc(slices.Clone(*s.defined.Load()), func(n string) bool { return foldName(n) == key })
	s.defined.Store(&names)
	st := v.state.Load()
	if st.source == SourceDefault {
		s.vars.Delete(key)
	} else {
		left := newPlaceholder(v.def.Name)
		left.state.Store(&state{value: Value{typ: TypeString, text: st.value.Show()}, source: st.source, file: st.file, line: st.line})
		s.vars.Store(key, left)
	}
	return Change{Name: v.def.Name, Kind: ChangeGone, Was: v.shown()}
}

// replace puts a variable in the place of what has its name, and returns nil if
// nothing is different.
func (s *Store) replace(v *variable) (*Change, []*elog.ErrorData) {
	old := s.find(v.def.Name)
	if old == nil || old.placeholder {
		v.def.assign(v.bootValue)
		var reports []*elog.ErrorData
		if old != nil {
			reports = s.adopt(v, old)
		}
		s.add(v)
		return &Change{Name: v.def.Name, Kind: ChangeNew, Is: v.shown()}, reports
	}
	if sameDefinition(old.def, v.def) {
		return nil, nil
	}
	reports := s.inherit(v, old)
	s.vars.Store(foldName(v.def.Name), v)
	return &Change{Name: v.def.Name, Kind: ChangeChanged, Was: old.shown(), Is: v.shown()}, reports
}

// inherit gives a variable the value of the one whose place it takes.
func (s *Store) inherit(v, old *variable) []*elog.ErrorData {
	st := old.state.Load()
	fixed := s.running && (v.def.Context == Postmaster || old.def.Context == Postmaster)
	text := st.value.String()
	if old.def.Unit != v.def.Unit {
		text = st.value.Show() // a number counts something else now
	}
	it := Item{Name: v.def.Name, Value: text, File: st.file, Line: st.line, Source: st.source}
	if st.source == SourceDefault {
		if !fixed || v.bootValue.String() == st.value.String() {
			v.def.assign(v.bootValue)
			return nil
		}
		it.Source = SourceOverride // or no child would hear of it
	}
	_, problem := s.set(v, it, Internal)
	if problem != nil {
		return []*elog.ErrorData{v.refused(it, problem)}
	}
	if it.Source == SourceOverride && st.source == SourceDefault {
		v.markPending(true)
		return []*elog.ErrorData{elog.AsErrorData(v.needsRestart(), elog.Log)}
	}
	v.markPending(st.pendingRestart)
	return nil
}

// shown is the value for those who are told of a change.
func (v *variable) shown() string {
	if v.def.Flags&FlagSecret != 0 {
		return ""
	}
	return v.state.Load().value.Show()
}

// sameDefinition compares all that can cross a process boundary.
func sameDefinition(a, b Definition) bool {
	one, errOne := json.Marshal(a)
	two, errTwo := json.Marshal(b)
	return errOne == nil && errTwo == nil && bytes.Equal(one, two)
}
