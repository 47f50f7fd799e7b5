package guc

import (
	"math"
	"strings"
	"time"
)

// Unit is what a numeric variable counts. A value without a unit is in it; a
// value may be written in any unit of the same family. Mirrors GUC_UNIT_*.
type Unit int

// The units.
const (
	UnitNone Unit = iota // a plain number; a unit in the text is an error
	UnitByte
	UnitKB // 1024 bytes
	UnitMB
	UnitMS // milliseconds
	UnitS
	UnitMin
)

var unitNames = []string{"", "B", "kB", "MB", "ms", "s", "min"}

// String returns the word of pg_settings.unit, empty for UnitNone.
func (u Unit) String() string { return nameOf(unitNames, int(u)) }

// MarshalText encodes the unit as its word.
func (u Unit) MarshalText() ([]byte, error) { return marshalName(unitNames, int(u), "unit") }

// UnmarshalText decodes what MarshalText wrote and refuses anything else.
func (u *Unit) UnmarshalText(text []byte) error {
	return unmarshalName(unitNames, text, "unit", (*int)(u))
}

// scale is one unit of a family; sizes of a family compare with each other.
type scale struct {
	name string
	size float64
}

// Families are ordered from the greatest unit to the smallest: both the
// rounding of fractions and the choice of a unit to show rely on that.
var (
	memoryScales = []scale{{"TB", 1 << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}, {"B", 1}}
	timeScales   = []scale{{"d", 86400e6}, {"h", 3600e6}, {"min", 60e6}, {"s", 1e6}, {"ms", 1e3}, {"us", 1}}
)

const (
	memoryUnitsHint = `Valid units for this parameter are "B", "kB", "MB", "GB", and "TB".`
	timeUnitsHint   = `Valid units for this parameter are "us", "ms", "s", "min", "h", and "d".`
)

func (u Unit) isTime() bool { return u >= UnitMS && u <= UnitMin }

func (u Unit) scales() []scale {
	if u.isTime() {
		return timeScales
	}
	return memoryScales
}

// hint tells which units may be written.
func (u Unit) hint() string {
	if u.isTime() {
		return timeUnitsHint
	}
	return memoryUnitsHint
}

// size returns the unit's size on its family's scale.
func (u Unit) size() float64 {
	for _, s := range u.scales() {
		if s.name == u.String() {
			return s.size
		}
	}
	return 1
}

// toBase converts a value written in the unit named by text to u. A fraction
// such as 30.1GB is rounded to a multiple of the next smaller unit. Mirrors
// convert_to_base_unit.
func (u Unit) toBase(value float64, text string) (float64, bool) {
	text = strings.TrimRight(text, spaces)
	scales := u.scales()
	for i, s := range scales {
		if s.name != text {
			continue
		}
		value *= s.size / u.size()
		if i+1 < len(scales) {
			next := scales[i+1].size / u.size()
			value = math.RoundToEven(value/next) * next
		}
		return value, true
	}
	return 0, false
}

// fromBaseInt converts a positive count of u to the greatest unit that shows it
// without loss. Mirrors convert_int_from_base_unit.
func (u Unit) fromBaseInt(n int64) (int64, string) {
	for _, s := range u.scales() {
		if multiplier := int64(s.size / u.size()); multiplier >= 1 && n%multiplier == 0 {
			return n / multiplier, s.name
		}
	}
	return n, u.String()
}

// fromBaseReal is fromBaseInt for a value that may have no exact
// representation: then the smallest unit is used. Mirrors
// convert_real_from_base_unit.
func (u Unit) fromBaseReal(f float64) (value float64, unit string) {
	for _, s := range u.scales() {
		value, unit = f/(s.size/u.size()), s.name
		if value > 0 && math.Abs(math.RoundToEven(value)/value-1) <= 1e-8 {
			break
		}
	}
	return value, unit
}

// duration converts a count of u, which must be a unit of time, saturating at
// the 292 years that a time.Duration can hold.
func (u Unit) duration(f float64) time.Duration {
	ns := f * u.size() * float64(time.Microsecond)
	switch {
	case ns >= math.MaxInt64:
		return math.MaxInt64
	case ns <= math.MinInt64:
		return math.MinInt64
	}
	return time.Duration(ns)
}
