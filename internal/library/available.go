package library

import (
	"debug/buildinfo"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Candidate is a library that a host could load by a plain name.
type Candidate struct {
	Name       string
	CompiledIn bool   // it is a part of the host
	File       string // the executable, unless it is
	Program    *Program
	Problem    *elog.ErrorData // why the host can't run it, or nil
}

// Available returns what a name could lead to, in the order of the names. Of a
// file that is no program built with this module nothing is said: there may be
// anything in these directories. A directory that can't be read is an error, an
// *elog.ErrorData, unless it is not there.
func (p Path) Available() ([]Candidate, error) {
	dirs, err := p.Directories()
	if err != nil {
		return nil, err
	}
	found := make(map[string]Candidate) // the first one counts
	for _, dir := range dirs {
		if dir == p.Libdir {
			for _, name := range p.CompiledIn {
				if _, hidden := found[name]; !hidden {
					found[name] = Candidate{Name: name, CompiledIn: true}
				}
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, elog.New(elog.Error, elog.FileAccessCode(err), "could not open directory \"%s\": %s", dir, elog.OSReason(err)).WithCause(err)
		}
		for _, entry := range entries {
			if _, hidden := found[entry.Name()]; hidden {
				continue
			}
			if c, ok := candidate(entry.Name(), filepath.Join(dir, entry.Name())); ok {
				found[c.Name] = c
			}
		}
	}
	var all []Candidate
	for _, c := range found {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Candidate) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// candidate looks at a file, and reports whether it is worth mentioning.
func candidate(name, file string) (Candidate, bool) {
	program, err := Inspect(name, file)
	if err == nil {
		return Candidate{Name: name, File: file, Program: program}, true
	}
	info, noGo := buildinfo.ReadFile(file)
	if noGo != nil {
		return Candidate{}, false
	}
	p := describe(info)
	if p.Built == "" || p.Package == handshake.Module+"/cmd/pgexthost" {
		return Candidate{}, false
	}
	return Candidate{Name: name, File: file, Program: p, Problem: elog.AsErrorData(err, elog.Error)}, true
}
