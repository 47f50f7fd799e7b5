package guc

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Store holds the settings of one process. All methods may be called from any
// goroutine: readers never wait, writers wait for each other. Each variable is
// read as one consistent snapshot; two variables read one after the other may
// be from before and after a reload.
type Store struct {
	isChild  bool     // fixed; a child of the postmaster inherits, and is quiet about files
	vars     sync.Map // folded name -> *variable
	writer   sync.Mutex
	running  bool          // guarded by writer; EndStartup was called
	reserved []reservation // guarded by writer
	// defined are the names of all variables, without placeholders: what a
	// misspelt name could have been meant to be.
	defined atomic.Pointer[[]string]
}

// variable is one setting. A placeholder stands for a custom variable that
// nobody has defined yet.
type variable struct {
	def         Definition
	bootValue   Value
	placeholder bool
	late        bool // see isLate
	state       atomic.Pointer[state]
}

// state is what a variable holds; immutable once stored.
type state struct {
	value          Value
	source         Source
	file           string
	line           int
	pendingRestart bool
}

// NewStore returns a store with the host's own variables at their defaults. It
// panics if a definition makes no sense or is there twice: they are compiled
// in. Definitions of plugins go to [Store.Define].
func NewStore(defs ...Definition) *Store {
	s := &Store{}
	for _, def := range defs {
		v, problem := newVariable(def)
		if problem == nil && s.find(def.Name) != nil {
			problem = redefinition(def.Name)
		}
		if problem != nil {
			panic(fmt.Sprintf("guc: %v", problem))
		}
		v.def.assign(v.bootValue)
		s.add(v)
	}
	return s
}

// NewChildStore returns a store for a child of the postmaster, which starts
// with what [Store.Items] gave in the postmaster. A reload then reports at
// DEBUG2 what the postmaster reports at LOG already, and leaves variables of
// context Backend as they are. An item that isn't accepted is in the reports as
// a WARNING, and its variable has its default. Mirrors
// read_nondefault_variables.
func NewChildStore(inherited []Item, defs ...Definition) (*Store, []*elog.ErrorData) {
	s := NewStore(defs...)
	s.isChild = true
	var reports []*elog.ErrorData
	for _, it := range inherited {
		if _, problem := s.apply(it, Internal); problem != nil {
			reports = append(reports, elog.AsErrorData(problem, elog.Warning))
		}
	}
	return s, reports
}

// reservation is a prefix that MarkPrefixReserved was called for.
type reservation struct {
	prefix string
	late   bool // see isLate
}

// reservation returns the one for a folded prefix, or nil.
func (s *Store) reservation(folded string) *reservation {
	for i := range s.reserved {
		if foldName(s.reserved[i].prefix) == folded {
			return &s.reserved[i]
		}
	}
	return nil
}

// isLate reports whether what is defined now is known to this process alone: a
// child that loads a library after the start does so behind the postmaster's
// back.
func (s *Store) isLate() bool { return s.isChild && s.running }

// EndStartup says that the variables of context Postmaster are settled: from
// now on no such variable can be defined.
func (s *Store) EndStartup() {
	s.lock()
	defer s.writer.Unlock()
	s.running = true
}

func newVariable(def Definition) (*variable, *elog.ErrorData) {
	v := &variable{def: def.clone()}
	var problem *elog.ErrorData
	if v.bootValue, problem = v.def.boot(); problem != nil {
		return nil, problem
	}
	v.state.Store(&state{value: v.bootValue})
	return v, nil
}

// newPlaceholder mirrors add_placeholder_variable.
func newPlaceholder(name string) *variable {
	v := &variable{
		def:         Definition{Name: name, Type: TypeString, Context: User, ShortDesc: "GUC placeholder variable", Flags: FlagNoShowAll},
		bootValue:   Value{typ: TypeString},
		placeholder: true,
	}
	v.state.Store(&state{value: v.bootValue})
	return v
}

// add makes a variable visible, in the place of its placeholder if it has one.
func (s *Store) add(v *variable) {
	s.vars.Store(foldName(v.def.Name), v)
	var names []string
	if old := s.defined.Load(); old != nil {
		names = *old
	}
	names = append(slices.Clip(names), v.def.Name) // readers may be using the old array
	s.defined.Store(&names)
}

// find returns the variable or placeholder of that name in any case, or nil.
func (s *Store) find(name string) *variable {
	v, ok := s.vars.Load(foldName(name))
	if !ok {
		return nil
	}
	return v.(*variable)
}

// sorted returns all variables in the order of their names.
func (s *Store) sorted() []*variable {
	var all []*variable
	s.vars.Range(func(_, v any) bool {
		all = append(all, v.(*variable))
		return true
	})
	slices.SortFunc(all, func(a, b *variable) int {
		return strings.Compare(foldName(a.def.Name), foldName(b.def.Name))
	})
	return all
}

// mustFind is find for names that are written in the program.
func (s *Store) mustFind(name string) Value {
	v := s.find(name)
	if v == nil {
		panic(fmt.Sprintf("guc: unrecognized configuration parameter %q", name))
	}
	return v.state.Load().value
}

// Bool returns the value of a variable of TypeBool. Like all getters of single
// values it panics if there is no such variable, or if it has another type.
func (s *Store) Bool(name string) bool { return s.mustFind(name).Bool() }

// Int returns the value of a variable of TypeInt, counted in its unit.
func (s *Store) Int(name string) int { return s.mustFind(name).Int() }

// Float returns the value of a variable of TypeReal, counted in its unit.
func (s *Store) Float(name string) float64 { return s.mustFind(name).Float() }

// Duration returns the value of a numeric variable whose unit is one of time.
func (s *Store) Duration(name string) time.Duration { return s.mustFind(name).Duration() }

// Enum returns the value of a variable of TypeEnum, spelt as in its definition.
func (s *Store) Enum(name string) string {
	v := s.mustFind(name)
	v.must(TypeEnum)
	return v.text
}

// String returns the value of a variable of TypeString.
func (s *Store) String(name string) string {
	v := s.mustFind(name)
	v.must(TypeString)
	return v.text
}
