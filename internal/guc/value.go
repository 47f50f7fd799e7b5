package guc

import (
	"fmt"
	"strconv"
	"time"
)

// Value is the value of one variable. It is immutable and comparable; the
// values of one definition are equal exactly when they mean the same.
//
// The accessors panic when called for another type than the value's: the
// caller has defined the variable, so that is a bug of the caller.
type Value struct {
	typ  Type
	unit Unit
	num  int64 // TypeInt; 0 or 1 for TypeBool
	real float64
	text string // TypeString; the option as defined for TypeEnum
}

// Type returns the type of the value.
func (v Value) Type() Type { return v.typ }

// Bool returns the value of a TypeBool.
func (v Value) Bool() bool {
	v.must(TypeBool)
	return v.num != 0
}

// Int returns the value of a TypeInt, counted in the definition's unit.
func (v Value) Int() int {
	v.must(TypeInt)
	return int(v.num)
}

// Float returns the value of a TypeReal, counted in the definition's unit.
func (v Value) Float() float64 {
	v.must(TypeReal)
	return v.real
}

// Duration returns the value of a TypeInt or TypeReal whose unit is one of
// time. What doesn't fit a time.Duration becomes its greatest or least value.
func (v Value) Duration() time.Duration {
	if !v.unit.isTime() {
		panic(fmt.Sprintf("guc: a value of type %s and unit %q is no duration", v.typ, v.unit))
	}
	if v.typ == TypeReal {
		return v.unit.duration(v.real)
	}
	return v.unit.duration(float64(v.num))
}

func (v Value) must(t Type) {
	if v.typ != t {
		panic(fmt.Sprintf("guc: a value of type %s was read as %s", v.typ, t))
	}
}

// String returns the value of a TypeString or TypeEnum, and for any other type
// its canonical text without a unit, which parses to the same value again.
// Mirrors GetConfigOption and pg_settings.setting.
func (v Value) String() string {
	switch v.typ {
	case TypeBool:
		if v.num != 0 {
			return "on"
		}
		return "off"
	case TypeInt:
		return strconv.FormatInt(v.num, 10)
	case TypeReal:
		return formatG(v.real, -1)
	}
	return v.text
}

// Show returns the value for people, with its unit: "1min", "64kB". Mirrors
// ShowGUCOption and SHOW.
func (v Value) Show() string {
	const precision = 6 // of C's %g
	switch {
	case v.typ == TypeInt && v.unit != UnitNone && v.num > 0:
		n, unit := v.unit.fromBaseInt(v.num)
		return strconv.FormatInt(n, 10) + unit
	case v.typ == TypeReal && v.unit != UnitNone && v.real > 0:
		f, unit := v.unit.fromBaseReal(v.real)
		return formatG(f, precision) + unit
	case v.typ == TypeReal:
		return formatG(v.real, precision)
	}
	return v.String()
}
