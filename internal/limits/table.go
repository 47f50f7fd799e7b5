package limits

import (
	"path/filepath"
	"strings"
)

// Others stands for every library that has no entry of its own.
const Others = "*"

// Table is a value of library_limits, in its order. Treat it as immutable.
type Table []Limits

// Of returns the limits of a library, or nil if it has none. Name is what it
// was asked for by, or what it is called as a part of the host; file is its
// executable, or empty if it has none.
//
// A library is known by the last component of its name, so that it does not
// matter by which path it is asked for.
func (t Table) Of(name, file string) *Limits {
	if file != "" {
		name = file
	}
	base := filepath.Base(name)
	var byName, others *Limits
	for i := range t {
		switch library := t[i].Library; {
		case strings.Contains(library, "/") && file != "" && filepath.Clean(library) == filepath.Clean(file):
			return t[i].orNil()
		case library == base:
			byName = &t[i]
		case library == Others:
			others = &t[i]
		}
	}
	if byName != nil {
		return byName.orNil()
	}
	return others.orNil()
}

func (l *Limits) orNil() *Limits {
	if l.None() {
		return nil
	}
	return l
}

// String returns the table as library_limits would say it.
func (t Table) String() string {
	var entries []string
	for i := range t {
		name := quote(t[i].Library)
		if name == "" {
			name = `""`
		}
		entries = append(entries, strings.TrimSuffix(name+": "+t[i].String(), " "))
	}
	return strings.Join(entries, "; ")
}
