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
type IntVariable struct {
	Name, Description string
	Default, Min, Max int
	Unit              Unit
	Context           Context
}

// DefineCustomInt defines an integer setting and returns a function that reads
// its present value from any goroutine. Mirrors DefineCustomIntVariable.
func (p *Init) DefineCustomInt(v IntVariable) func() int {
	if v.Min == 0 && v.Max == 0 {
		v.Min, v.Max = math.MinInt32, math.MaxInt32
	}
	p.define(guc.Definition{
		Name: v.Name, ShortDesc: v.Description, Type: guc.TypeInt, Context: v.Context.guc(), Unit: v.Unit,
		Min: int64(v.Min), Max: int64(v.Max), Default: strconv.Itoa(v.Default),
	})
	return func() int { return p.settings.store.Int(v.Name) }
}

// DurationVariable describes a setting that is a time. Unit is the precision:
// time.Millisecond (the default), time.Second or time.Minute; numbers without a
// unit are in it. Min and Max both zero means no bounds but zero.
type DurationVariable struct {
	Name, Description string
	Default, Min, Max time.Duration
	Unit              time.Duration
	Context           Context
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
	longest := int64(math.MaxInt32) // in units
	if v.Min != 0 || v.Max != 0 {
		longest = int64(v.Max / step)
	}
	p.define(guc.Definition{
		Name: v.Name, ShortDesc: v.Description, Type: guc.TypeInt, Context: v.Context.guc(), Unit: unit,
		Min: int64(v.Min / step), Max: min(longest, math.MaxInt32), Default: fmt.Sprint(int64(v.Default / step)),
	})
	return func() time.Duration { return time.Duration(p.settings.store.Int(v.Name)) * step }
}

// StringVariable describes a setting that is a text.
type StringVariable struct {
	Name, Description, Default string
	Context                    Context
}

// DefineCustomString defines a setting that is a text and returns a function
// that reads its present value from any goroutine. Mirrors
// DefineCustomStringVariable.
func (p *Init) DefineCustomString(v StringVariable) func() string {
	p.define(guc.Definition{Name: v.Name, ShortDesc: v.Description, Type: guc.TypeString, Context: v.Context.guc(), Default: v.Default})
	return func() string { return p.settings.store.String(v.Name) }
}

// BoolVariable describes a setting that is on or off.
type BoolVariable struct {
	Name, Description string
	Default           bool
	Context           Context
}

// DefineCustomBool defines a setting that is on or off and returns a function
// that reads its present value from any goroutine. Mirrors
// DefineCustomBoolVariable.
func (p *Init) DefineCustomBool(v BoolVariable) func() bool {
	p.define(guc.Definition{
		Name: v.Name, ShortDesc: v.Description, Type: guc.TypeBool, Context: v.Context.guc(), Default: strconv.FormatBool(v.Default),
	})
	return func() bool { return p.settings.store.Bool(v.Name) }
}

// EnumVariable describes a setting that is one of a few words.
type EnumVariable struct {
	Name, Description, Default string
	Options                    []string
	Context                    Context
}

// DefineCustomEnum defines a setting that is one of a few words and returns a
// function that reads its present value, spelled as in Options, from any
// goroutine. Mirrors DefineCustomEnumVariable.
func (p *Init) DefineCustomEnum(v EnumVariable) func() string {
	p.define(guc.Definition{
		Name: v.Name, ShortDesc: v.Description, Type: guc.TypeEnum, Context: v.Context.guc(), EnumOptions: v.Options, Default: v.Default,
	})
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
