package guc

import (
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Parse reads a value of def from text, as a file or a command line gives it,
// and applies every test the definition has. The error, if any, is an
// *elog.ErrorData of level ERROR. def must have passed [Definition.Check].
// Mirrors parse_and_validate_value.
func Parse(def Definition, text string) (Value, error) {
	value, problem := def.parse(text)
	if problem != nil {
		return Value{}, problem
	}
	return value, nil
}

func (d *Definition) parse(text string) (Value, *elog.ErrorData) {
	var value Value
	var problem *elog.ErrorData
	switch d.Type {
	case TypeBool:
		value, problem = d.parseBool(text)
	case TypeInt:
		value, problem = d.parseInt(text)
	case TypeReal:
		value, problem = d.parseReal(text)
	case TypeEnum:
		value, problem = d.parseEnum(text)
	default:
		value = Value{typ: TypeString, text: text}
	}
	if problem == nil {
		problem = d.check(value)
	}
	if problem != nil {
		return Value{}, problem
	}
	return value, nil
}

// boolWords are the words whose unambiguous prefixes are Booleans.
var boolWords = []struct {
	word     string
	shortest int
	value    int64
}{
	{"true", 1, 1}, {"false", 1, 0}, {"yes", 1, 1}, {"no", 1, 0}, {"on", 2, 1}, {"off", 2, 0}, {"1", 1, 1}, {"0", 1, 0},
}

// parseBool mirrors parse_bool.
func (d *Definition) parseBool(text string) (Value, *elog.ErrorData) {
	folded := foldName(text)
	for _, w := range boolWords {
		if len(folded) >= w.shortest && strings.HasPrefix(w.word, folded) {
			return Value{typ: TypeBool, num: w.value}, nil
		}
	}
	return Value{}, elog.New(elog.Error, elog.InvalidParameterValue, "parameter \"%s\" requires a Boolean value", d.Name)
}

func (d *Definition) parseInt(text string) (Value, *elog.ErrorData) {
	n, hint, ok := parseInteger(text, d.Unit)
	if !ok {
		return Value{}, d.invalid(text, hint)
	}
	if n < d.Min || n > d.Max {
		u := d.unitSuffix()
		return Value{}, elog.New(elog.Error, elog.InvalidParameterValue,
			"%d%s is outside the valid range for parameter \"%s\" (%d%s .. %d%s)", n, u, d.Name, d.Min, u, d.Max, u)
	}
	return Value{typ: TypeInt, unit: d.Unit, num: n}, nil
}

func (d *Definition) parseReal(text string) (Value, *elog.ErrorData) {
	f, hint, ok := parseReal(text, d.Unit)
	if !ok {
		return Value{}, d.invalid(text, hint)
	}
	if f < d.MinReal || f > d.MaxReal {
		const precision = 6 // of C's %g
		u := d.unitSuffix()
		return Value{}, elog.New(elog.Error, elog.InvalidParameterValue,
			"%s%s is outside the valid range for parameter \"%s\" (%s%s .. %s%s)",
			formatG(f, precision), u, d.Name, formatG(d.MinReal, precision), u, formatG(d.MaxReal, precision), u)
	}
	return Value{typ: TypeReal, unit: d.Unit, real: f}, nil
}

// unitSuffix is what range messages put behind a number, from PostgreSQL 18 on
// behind the bounds too.
func (d *Definition) unitSuffix() string {
	if d.Unit == UnitNone {
		return ""
	}
	return " " + d.Unit.String()
}

// parseEnum mirrors config_enum_lookup_by_name.
func (d *Definition) parseEnum(text string) (Value, *elog.ErrorData) {
	folded := foldName(text)
	for _, option := range d.EnumOptions {
		if folded == foldName(option) {
			return Value{typ: TypeEnum, text: option}, nil
		}
	}
	for alias, option := range d.EnumAliases {
		if folded == foldName(alias) {
			return Value{typ: TypeEnum, text: option}, nil
		}
	}
	return Value{}, d.invalid(text, "Available values: "+strings.Join(d.EnumOptions, ", ")+".")
}

// invalid is the report about a text that can't be read.
func (d *Definition) invalid(text, hint string) *elog.ErrorData {
	e := elog.New(elog.Error, elog.InvalidParameterValue, "invalid value for parameter \"%s\": \"%s\"", d.Name, text)
	e.Hint = hint
	return e
}
