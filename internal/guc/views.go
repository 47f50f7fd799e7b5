package guc

// Setting is a snapshot of one variable: what a row of pg_settings says.
type Setting struct {
	Definition     Definition
	Value          Value
	Default        Value // the boot value
	Source         Source
	File           string // for SourceFile
	Line           int    // for SourceFile
	PendingRestart bool   // the files say otherwise, and only a restart makes it so
	Placeholder    bool   // not defined yet; the value is the text as written
}

func (v *variable) setting() Setting {
	st := v.state.Load()
	return Setting{
		Definition: v.def, Value: st.value, Default: v.bootValue, Source: st.source, File: st.file, Line: st.line,
		PendingRestart: st.pendingRestart, Placeholder: v.placeholder,
	}
}

// Show returns the value with its unit, or as the definition's ShowHook wants
// it. Mirrors ShowGUCOption.
func (s Setting) Show() string { return s.Definition.show(s.Value) }

// Lookup returns the variable or placeholder of that name.
func (s *Store) Lookup(name string) (Setting, bool) {
	v := s.find(name)
	if v == nil {
		return Setting{}, false
	}
	return v.setting(), true
}

// Show returns a value as SHOW does, see [Setting.Show]. The error, an
// *elog.ErrorData of level ERROR, says that there is no such variable. Mirrors
// GetConfigOptionByName.
func (s *Store) Show(name string) (string, error) {
	v := s.find(name)
	if v == nil {
		return "", s.unrecognized(Item{Name: name})
	}
	return v.def.show(v.state.Load().value), nil
}

// Settings returns all variables and placeholders in the order of their names.
func (s *Store) Settings() []Setting {
	var all []Setting
	for _, v := range s.sorted() {
		all = append(all, v.setting())
	}
	return all
}

// Definitions returns what is defined, in the order of the names.
func (s *Store) Definitions() []Definition {
	var defs []Definition
	for _, v := range s.sorted() {
		if !v.placeholder {
			defs = append(defs, v.def)
		}
	}
	return defs
}

// Items returns every setting in force that isn't at its default, placeholders
// included, in the order of their names: [NewChildStore] makes from them what
// this process runs with. Mirrors write_nondefault_variables.
func (s *Store) Items() []Item {
	var items []Item
	for _, v := range s.sorted() {
		if st := v.state.Load(); st.source != SourceDefault {
			items = append(items, Item{Name: v.def.Name, Value: st.value.String(), File: st.file, Line: st.line, Source: st.source})
		}
	}
	return items
}
