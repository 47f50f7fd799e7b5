package guc

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Flags are the properties of a variable that only matter to those who show
// it. Mirrors GUC_*, with PostgreSQL's numbers.
type Flags uint32

// The flags.
const (
	FlagListInput Flags = 0x0001 // the value is a comma-separated list
	FlagNoShowAll Flags = 0x0004 // left out of lists of all settings
	FlagSecret    Flags = 0x0100 // the value may hold a secret and is not logged; GUC_SUPERUSER_ONLY
)

// Definition describes one variable, in data that can cross a process
// boundary. Treat it as immutable once it has been given away. Mirrors the
// arguments of DefineCustomIntVariable and its siblings.
type Definition struct {
	Name    string  `json:"name"`
	Type    Type    `json:"type"`
	Context Context `json:"context"`
	Unit    Unit    `json:"unit,omitempty"` // for TypeInt and TypeReal

	Min     int64   `json:"min,omitempty"` // for TypeInt, in Unit, inclusive
	Max     int64   `json:"max,omitempty"`
	MinReal float64 `json:"min_real,omitempty"` // for TypeReal, in Unit, inclusive
	MaxReal float64 `json:"max_real,omitempty"`

	EnumOptions []string `json:"enum_options,omitempty"` // for TypeEnum, as shown
	// EnumAliases maps further spellings, which no message mentions, to an
	// option. Mirrors the hidden entries of a config_enum_entry table.
	EnumAliases map[string]string `json:"enum_aliases,omitempty"`

	Default   string `json:"default"` // the boot value, as a file would say it
	ShortDesc string `json:"short_desc,omitempty"`
	LongDesc  string `json:"long_desc,omitempty"`
	Flags     Flags  `json:"flags,omitempty"`

	// The hooks, each of which may be nil. They don't cross process boundaries.
	// CheckHook and AssignHook run under the store's writer lock, so one at a
	// time; ShowHook under none, so maybe several at once. All may read other
	// settings; the variable's own is at the value before, or isn't there while
	// it is being defined. A hook that changes a setting panics, or waits for
	// ever if it leaves that to another goroutine. A panic of a hook goes
	// through to the caller of the store's method, as an ereport(ERROR) in C
	// does; the variable keeps its value, and the store stays usable.

	// CheckHook may refuse a value that has passed all other tests, by an error:
	// its text becomes the DETAIL, unless it is an *elog.ErrorData, whose code,
	// message, detail and hint are then used where they aren't empty. It is also
	// asked about values that are not going to be in force, such as those that
	// need a restart. Unlike PostgreSQL's it can't put another value in the
	// place of the one it sees: processes without the hook would disagree about
	// what the variable's value is. Mirrors GucIntCheckHook and its siblings.
	CheckHook func(Value) error `json:"-"`
	// AssignHook is told each value just before readers see it: the default,
	// when the variable is defined and when it is reset, included, and a value
	// that isn't new, too. Mirrors GucIntAssignHook and its siblings.
	AssignHook func(Value) `json:"-"`
	// ShowHook makes what SHOW prints of a value. Mirrors GucShowHook.
	ShowHook func(Value) string `json:"-"`
}

// Check returns nil if the definition makes sense, and a report that says what
// is wrong otherwise. It accepts names with and without dots; [Store.Define]
// insists on a dot.
func (d Definition) Check() error {
	if _, problem := d.boot(); problem != nil {
		return problem
	}
	return nil
}

// boot checks the definition and returns its default.
func (d *Definition) boot() (Value, *elog.ErrorData) {
	if !validName(d.Name) {
		return Value{}, invalidCustomName(d.Name)
	}
	if !isKnown(contextNames, int(d.Context)) || !isKnown(typeNames, int(d.Type)) || !isKnown(unitNames, int(d.Unit)) {
		return Value{}, d.nonsense("It has the context %d, the type %d and the unit %d.", int(d.Context), int(d.Type), int(d.Unit))
	}
	if d.Unit != UnitNone && d.Type != TypeInt && d.Type != TypeReal {
		return Value{}, d.nonsense("A parameter of type %s can't have a unit.", d.Type)
	}
	if problem := d.checkType(); problem != nil {
		return Value{}, problem
	}
	value, problem := d.parse(d.Default)
	if problem != nil {
		return Value{}, d.nonsense("The default is refused: %s.", strings.TrimSuffix(problem.Error(), ".")).WithCause(problem)
	}
	return value, nil
}

// checkType checks what belongs to one type only.
func (d *Definition) checkType() *elog.ErrorData {
	switch d.Type {
	case TypeInt:
		if d.Min < math.MinInt32 || d.Max > math.MaxInt32 {
			return d.nonsense("The range %d .. %d exceeds the integer range.", d.Min, d.Max)
		}
		if d.Min > d.Max {
			return d.nonsense("The minimum, %d, is greater than the maximum, %d.", d.Min, d.Max)
		}
	case TypeReal:
		if !isFinite(d.MinReal) || !isFinite(d.MaxReal) {
			return d.nonsense("The minimum and the maximum must be finite.")
		}
		if d.MinReal > d.MaxReal {
			return d.nonsense("The minimum, %g, is greater than the maximum, %g.", d.MinReal, d.MaxReal)
		}
	case TypeEnum:
		return d.checkEnum()
	}
	return nil
}

func isFinite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

func (d *Definition) checkEnum() *elog.ErrorData {
	if len(d.EnumOptions) == 0 {
		return d.nonsense("An enum needs at least one option.")
	}
	seen := make(map[string]bool, len(d.EnumOptions))
	for _, option := range d.EnumOptions {
		folded := foldName(option)
		if option == "" || seen[folded] {
			return d.nonsense("The option \"%s\" is empty or there twice.", option)
		}
		seen[folded] = true
	}
	for alias, option := range d.EnumAliases {
		if seen[foldName(alias)] || !slices.Contains(d.EnumOptions, option) {
			return d.nonsense("The alias \"%s\" is there twice, or stands for no option.", alias)
		}
		seen[foldName(alias)] = true
	}
	return nil
}

func (d *Definition) nonsense(detail string, args ...any) *elog.ErrorData {
	return elog.New(elog.Error, elog.InvalidParameterValue, "invalid definition of parameter \"%s\"", d.Name).WithDetail(detail, args...)
}

// clone returns a copy that shares nothing the giver could still change.
func (d Definition) clone() Definition {
	d.EnumOptions = slices.Clone(d.EnumOptions)
	d.EnumAliases = maps.Clone(d.EnumAliases)
	return d
}
