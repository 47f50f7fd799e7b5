package limits

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// What numbers may be. LeastMemory and leastFiles have been tried: with less, a
// worker with a session can't be relied on to start.
const (
	LeastMemory = 16 << 20
	leastFiles  = 16
	mostFiles   = 1 << 20
	mostMemory  = 1<<31 - 1 // in kB
)

var (
	memoryKind = guc.Definition{Name: Memory, Type: guc.TypeInt, Unit: guc.UnitKB, Min: LeastMemory >> 10, Max: mostMemory}
	filesKind  = guc.Definition{Name: Files, Type: guc.TypeInt, Min: leastFiles, Max: mostFiles}
	niceKind   = guc.Definition{Name: Nice, Type: guc.TypeInt, Min: -20, Max: 19}
)

// Parse reads a value of library_limits. The error is an *elog.ErrorData with a
// DETAIL and, where it can, a HINT, and without a message: that is for the
// setting's owner to say.
func Parse(text string) (Table, error) {
	var table Table
	s := scanner{rest: text}
	for {
		name, next := s.word(":;")
		if name.empty() && next == 0 && len(table) == 0 {
			return nil, nil
		}
		if name.empty() && next == 0 {
			return table, nil // after a last semicolon
		}
		l, problem := s.entry(name, next)
		if problem != nil {
			return nil, problem
		}
		for i := range table {
			if table[i].Library == l.Library {
				return nil, invalid("Library \"%s\" is there twice.", l.Library)
			}
		}
		table = append(table, *l)
		if !s.more {
			return table, nil
		}
	}
}

// entry reads the limits of one library, up to and including the semicolon.
func (s *scanner) entry(name word, next byte) (*Limits, *elog.ErrorData) {
	switch {
	case s.unclosed:
		return nil, errUnclosed()
	case name.text == "":
		return nil, invalid("The name of a library is missing.").WithHint(form)
	case next != ':':
		return nil, invalid("There is no colon after the library \"%s\".", name.text).WithHint(form)
	}
	l := &Limits{Library: name.text}
	for {
		w, next := s.word(";")
		if s.unclosed {
			return nil, errUnclosed()
		}
		if !w.empty() {
			if problem := l.set(w); problem != nil {
				return nil, problem
			}
		}
		if s.more = next == ';'; s.more || next == 0 {
			return l, nil
		}
	}
}

// set takes one limit.
func (l *Limits) set(w word) *elog.ErrorData {
	name, value, hasValue := strings.Cut(w.text, "=")
	if hasValue && len(name) > w.plain {
		name, value, hasValue = w.text, "", false // the "=" is in quotes
	}
	variable, isEnv := strings.CutPrefix(name, envPrefix)
	switch {
	case isEnv:
		return l.setEnv(Variable{Name: variable, Value: value, Unset: !hasValue})
	case l.has(name):
		return invalid("\"%s\" of library \"%s\" is there twice.", name, l.Library)
	case name == NoNewPrivileges:
		if hasValue {
			return invalid("\"%s\" of library \"%s\" takes no value.", name, l.Library)
		}
		l.NoNewPrivileges = true
		return nil
	case name != Memory && name != Files && name != Nice && name != Directory:
		return invalid("Unrecognized limit \"%s\" of library \"%s\".", name, l.Library).
			WithHint("The limits are %s, %s, %s, %s, %s and %sNAME.", Memory, Files, Nice, NoNewPrivileges, Directory, envPrefix)
	case value == "":
		return invalid("\"%s\" of library \"%s\" needs a value.", name, l.Library).WithHint("Write %s=VALUE, without blanks.", name)
	case name == Directory:
		if !filepath.IsAbs(value) {
			return invalid("The directory \"%s\" of library \"%s\" is not an absolute path.", value, l.Library)
		}
		l.Directory = value
		return nil
	}
	return l.setNumber(name, value)
}

func (l *Limits) has(name string) bool {
	return name == Memory && l.Memory != 0 || name == Files && l.Files != 0 || name == Nice && l.Nice != nil ||
		name == NoNewPrivileges && l.NoNewPrivileges || name == Directory && l.Directory != ""
}

func (l *Limits) setNumber(name, value string) *elog.ErrorData {
	kind := map[string]guc.Definition{Memory: memoryKind, Files: filesKind, Nice: niceKind}[name]
	v, err := guc.Parse(kind, value)
	if err != nil {
		problem := elog.AsErrorData(err, elog.Error)
		e := invalid("Library \"%s\": %s.", l.Library, problem.Message)
		e.Hint = problem.Hint
		if name == Memory && e.Hint == "" {
			e.Hint = fmt.Sprintf("With less than %s a worker does not start. Sizes have units, as in %s=256MB.", Size(LeastMemory), Memory)
		}
		return e
	}
	n := v.Int()
	switch name {
	case Memory:
		l.Memory = int64(n) << 10
	case Files:
		l.Files = n
	case Nice:
		l.Nice = &n
	}
	return nil
}

// isVariableName reports whether a shell could name a variable like that.
func isVariableName(name string) bool {
	for i, c := range []byte(name) {
		isLetter := c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z'
		if !isLetter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// ownVariables is what the variables begin with by which a host and its
// children know each other.
const ownVariables = "PGEXTHOST_"

func (l *Limits) setEnv(v Variable) *elog.ErrorData {
	switch {
	case !isVariableName(v.Name):
		return invalid("\"%s\" of library \"%s\" is not the name of an environment variable.", v.Name, l.Library)
	case strings.HasPrefix(v.Name, ownVariables):
		return invalid("The environment variable \"%s\" is the host's own.", v.Name)
	}
	for _, other := range l.Env {
		if other.Name == v.Name {
			return invalid("\"%s%s\" of library \"%s\" is there twice.", envPrefix, v.Name, l.Library)
		}
	}
	l.Env = append(l.Env, v)
	return nil
}

const form = "Write LIBRARY: LIMIT ...; LIBRARY: LIMIT ..., with double quotes around what holds blanks, colons or semicolons."

func errUnclosed() *elog.ErrorData { return invalid("A double quote is not closed.").WithHint(form) }

func invalid(detail string, args ...any) *elog.ErrorData {
	return elog.New(elog.Error, elog.InvalidParameterValue, "").WithDetail(detail, args...)
}
