package plugins

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Context says when a setting may change. Mirrors GucContext.
type Context int

// The contexts. The zero value suits most settings of workers.
const (
	PGCSighup     Context = iota // in the files, with effect at the next reload
	PGCPostmaster                // at the start of the host only
	PGCInternal                  // never
	PGCBackend                   // with effect on processes started later
	PGCSuset                     // at any time, by superusers
	PGCUserset                   // at any time
)

func (c Context) guc() guc.Context {
	switch c {
	case PGCSighup:
		return guc.Sighup
	case PGCPostmaster:
		return guc.Postmaster
	case PGCBackend:
		return guc.Backend
	case PGCSuset:
		return guc.Suset
	case PGCUserset:
		return guc.User
	case PGCInternal:
	}
	return guc.Internal
}

// Unit is what an integer setting counts; a value may then be written with any
// unit of its family.
type Unit = guc.Unit

// The units.
const (
	UnitNone = guc.UnitNone
	UnitByte = guc.UnitByte
	UnitKB   = guc.UnitKB
	UnitMB   = guc.UnitMB
)

// IntVariable describes an integer setting. Min and Max both zero means no
// bounds.
//
// Check, Assign and Show, which every kind of setting has, are PostgreSQL's
// check_hook, assign_hook and show_hook. Each may be nil.
//
//   - Check may refuse a value that is otherwise right. The error's text becomes
//     the DETAIL of the report, so make it a sentence; an *elog.ErrorData puts
//     its own SQLSTATE, message, detail and hint in the place of the usual ones.
//     After a refusal the setting keeps its value at a reload, and has its
//     default at the start. Check is also asked about the default (a library
//     that refuses its own doesn't load) and about values that are not going to
//     be in force, such as those that need a restart: it must have no effect.
//   - Assign is told each value just before it comes into force: the default,
//     when the setting is defined, then what the configuration has, then what
//     reloads bring, even if it is the same again, or the default. It is the
//     place to derive things from the value. It can't fail.
//   - Show makes what SHOW prints of a value, and Worker.ShowSetting returns.
//
// They run in every process that has loaded the library, which the host's own
// process has not: in the preload child and in each worker, on the goroutine
// that runs Init and on those that call Worker.ProcessConfigFile; Show on any. As
// the postmaster can't know what a worker refuses, the worker logs it, at LOG.
//
// Check and Assign run one at a time, under the lock for changes, Show under
// none. All may read settings, which takes no lock; their own has the value from
// before, and can't be read while it is being defined. They must not change
// any, by a DefineCustom function or ProcessConfigFile: that panics. A panic of
// theirs goes on in the caller, as ereport(ERROR) in C does, so that Init fails,
// or the worker's main function; the setting keeps its value.
//
// Unlike in C, Check can't put another value in the place of the one it is asked
// about: the postmaster would go on to show the one in the file, and to give it
// to new workers. Make the canonical form in Assign.
type IntVariable struct {
	Name, Description string
	Default, Min, Max int
	Unit              Unit
	Context           Context

	Check  func(value int) error
	Assign func(value int)
	Show   func(value int) string
}

// DefineCustomInt defines an integer setting and returns a function that reads
// its present value from any goroutine. Mirrors DefineCustomIntVariable.
func (p *Init) DefineCustomInt(v IntVariable) func() int {
	if v.Min == 0 && v.Max == 0 {
		v.Min, v.Max = math.MinInt32, math.MaxInt32
	}
	p.define(hooked(guc.Definition{
		Name: v.Name, ShortDesc: v.Description, Type: guc.TypeInt, Context: v.Context.guc(), Unit: v.Unit,
		Min: int64(v.Min), Max: int64(v.Max), Default: strconv.Itoa(v.Default),
	}, guc.Value.Int, v.Check, v.Assign, v.Show))
	return func() int { return p.settings.store.Int(v.Name) }
}

// DurationVariable describes a setting that is a time. Unit is the precision:
// time.Millisecond (the default), time.Second or time.Minute; numbers without a
// unit are in it, and Default, Min and Max are multiples of it. Min and Max both zero means no bounds but zero. What exceeds
// the 292 years of a time.Duration is read as its greatest value. See
// [IntVariable] for the three functions.
type DurationVariable struct {
	Name, Description string
	Default, Min, Max time.Duration
	Unit              time.Duration
	Context           Context

	Check  func(value time.Duration) error
	Assign func(value time.Duration)
	Show   func(value time.Duration) string
}

// DefineCustomDuration defines a setting that is a time and returns a function
// that reads its present value from any goroutine. Mirrors
// DefineCustomIntVariable with GUC_UNIT_MS, GUC_UNIT_S or GUC_UNIT_MIN.
func (p *Init) DefineCustomDuration(v DurationVariable) func() time.Duration {
	units := map[time.Duration]guc.Unit{0: guc.UnitMS, time.Millisecond: guc.UnitMS, time.Second: guc.UnitS, time.Minute: guc.UnitMin}
	unit, ok := units[v.Unit]
	if !ok {
		p.abort(elog.New(elog.Error, elog.InvalidParameterValue, "invalid unit %v of parameter \"%s\"", v.Unit, v.Name).
			WithHint("Use time.Millisecond, time.Second or time.Minute."))
	}
	step := max(v.Unit, time.Millisecond)
	for what, value := range map[string]time.Duration{"default": v.Default, "minimum": v.Min, "maximum": v.Max} {
		if value%step != 0 {
			p.abort(elog.New(elog.Error, elog.InvalidParameterValue, "invalid definition of parameter \"%s\"", v.Name).
				WithDetail("The %s, %v, is no multiple of the unit, %v.", what, value, step))
		}
	}
	longest := int64(math.MaxInt32) // in units
	if v.Min != 0 || v.Max != 0 {
		longest = int64(v.Max / step)
	}
	p.define(hooked(guc.Definition{
		Name: v.Name, ShortDesc: v.Description, Type: guc.TypeInt, Context: v.Context.guc(), Unit: unit,
		Min: int64(v.Min / step), Max: min(longest, math.MaxInt32), Default: fmt.Sprint(int64(v.Default / step)),
	}, guc.Value.Duration, v.Check, v.Assign, v.Show))
	return func() time.Duration { return p.settings.store.Duration(v.Name) }
}

// StringVariable describes a setting that is a text. See
// [IntVariable] for the three functions.
type StringVariable struct {
	Name, Description, Default string
	Context                    Context

	Check  func(value string) error
	Assign func(value string)
	Show   func(value string) string
}

// DefineCustomString defines a setting that is a text and returns a function
// that reads its present value from any goroutine. Mirrors
// DefineCustomStringVariable.
func (p *Init) DefineCustomString(v StringVariable) func() string {
	p.define(hooked(guc.Definition{
		Name: v.Name, ShortDesc: v.Description, Type: guc.TypeString, Context: v.Context.guc(), Default: v.Default,
	}, guc.Value.String, v.Check, v.Assign, v.Show))
	return func() string { return p.settings.store.String(v.Name) }
}

// BoolVariable describes a setting that is on or off. See
// [IntVariable] for the three functions.
type BoolVariable struct {
	Name, Description string
	Default           bool
	Context           Context

	Check  func(value bool) error
	Assign func(value bool)
	Show   func(value bool) string
}

// DefineCustomBool defines a setting that is on or off and returns a function
// that reads its present value from any goroutine. Mirrors
// DefineCustomBoolVariable.
func (p *Init) DefineCustomBool(v BoolVariable) func() bool {
	p.define(hooked(guc.Definition{
		Name: v.Name, ShortDesc: v.Description, Type: guc.TypeBool, Context: v.Context.guc(), Default: strconv.FormatBool(v.Default),
	}, guc.Value.Bool, v.Check, v.Assign, v.Show))
	return func() bool { return p.settings.store.Bool(v.Name) }
}

// EnumVariable describes a setting that is one of a few words. See [IntVariable]
// for the three functions, which see the words as in Options.
type EnumVariable struct {
	Name, Description, Default string
	Options                    []string
	Context                    Context

	Check  func(value string) error
	Assign func(value string)
	Show   func(value string) string
}

// DefineCustomEnum defines a setting that is one of a few words and returns a
// function that reads its present value, spelled as in Options, from any
// goroutine. Mirrors DefineCustomEnumVariable.
func (p *Init) DefineCustomEnum(v EnumVariable) func() string {
	p.define(hooked(guc.Definition{
		Name: v.Name, ShortDesc: v.Description, Type: guc.TypeEnum, Context: v.Context.guc(), EnumOptions: v.Options, Default: v.Default,
	}, guc.Value.String, v.Check, v.Assign, v.Show))
	return func() string { return p.settings.store.Enum(v.Name) }
}

// define adds the setting to this process and, in the preload child, to what
// the postmaster gets to know. A definition that makes no sense is an error of
// the library and ends its Init, as ereport(ERROR) in a DefineCustom function
// does.
func (p *Init) define(d guc.Definition) {
	if p.closed.Load() {
		panic("plugins: setting " + d.Name + " defined after Init has returned")
	}
	reports, err := p.settings.store.Define(d)
	if err != nil {
		p.abort(err)
	}
	for _, r := range reports {
		p.report(r)
	}
	if p.collect != nil {
		p.collect.definitions = append(p.collect.definitions, d)
	}
}

// initError is what abort panics with and run recovers.
type initError struct{ err error }

// abort leaves Init with an error from a function that returns none.
func (p *Init) abort(err error) { panic(initError{err}) }

// hooked adds the hooks of a variable, typed by value, to its definition.
func hooked[T any](d guc.Definition, value func(guc.Value) T, check func(T) error, assign func(T), show func(T) string) guc.Definition {
	if check != nil {
		d.CheckHook = func(v guc.Value) error { return check(value(v)) }
	}
	if assign != nil {
		d.AssignHook = func(v guc.Value) { assign(value(v)) }
	}
	if show != nil {
		d.ShowHook = func(v guc.Value) string { return show(value(v)) }
	}
	return d
}
