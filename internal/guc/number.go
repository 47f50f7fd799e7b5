package guc

import (
	"math"
	"strconv"
	"strings"
)

// spaces is what C's isspace accepts in the C locale.
const spaces = " \t\n\v\f\r"

// parseInteger reads an integer setting: decimal, octal (017) or hexadecimal
// (0x1F), or a fraction to be rounded, then an optional unit. When it fails,
// hint may say why. Mirrors parse_int.
func parseInteger(text string, unit Unit) (n int64, hint string, ok bool) {
	val, rest, overflow := scanInt(text)
	if overflow || rest != "" && strings.IndexByte(".eE", rest[0]) >= 0 {
		var inRange bool
		if val, rest, inRange = scanFloat(text); !inRange {
			return 0, "", false
		}
	}
	if rest == text {
		return 0, "", false
	}
	if val, hint, ok = applyUnit(val, rest, unit); !ok {
		return 0, hint, false
	}
	val = math.RoundToEven(val)
	if val > math.MaxInt32 || val < math.MinInt32 {
		return 0, "Value exceeds integer range.", false
	}
	return int64(val), "", true
}

// parseReal reads a floating-point setting with an optional unit. Mirrors
// parse_real.
func parseReal(text string, unit Unit) (f float64, hint string, ok bool) {
	val, rest, inRange := scanFloat(text)
	if !inRange || rest == text {
		return 0, "", false
	}
	return applyUnit(val, rest, unit)
}

// applyUnit converts val, which was followed by rest, to unit.
func applyUnit(val float64, rest string, unit Unit) (f float64, hint string, ok bool) {
	rest = strings.TrimLeft(rest, spaces)
	if rest == "" {
		return val, "", true
	}
	if unit == UnitNone {
		return 0, "", false
	}
	if f, ok = unit.toBase(val, rest); !ok {
		return 0, unit.hint(), false
	}
	return f, "", true
}

// scanInt reads an integer as strtol does with base 0. It returns what follows
// it: the whole text if there is no integer.
func scanInt(text string) (val float64, rest string, overflow bool) {
	s, negative := scanSign(text)
	base := uint64(10)
	switch {
	case isHex(s):
		s, base = s[2:], 16
	case strings.HasPrefix(s, "0"):
		base = 8
	}
	var n uint64
	i := 0
	for ; i < len(s) && digit(s[i]) < base; i++ {
		if n > (math.MaxInt64-digit(s[i]))/base {
			overflow = true
		} else {
			n = n*base + digit(s[i])
		}
	}
	if i == 0 {
		return 0, text, false
	}
	if negative {
		return -float64(n), s[i:], overflow
	}
	return float64(n), s[i:], overflow
}

// scanFloat reads a floating-point number as strtod does. It returns what
// follows it (the whole text if there is no number); inRange is false for what
// strtod answers with ERANGE, and for NaN, which no setting accepts.
func scanFloat(text string) (val float64, rest string, inRange bool) {
	s, negative := scanSign(text)
	n := 0
	switch {
	case hasFoldPrefix(s, "infinity"):
		val, n = math.Inf(1), len("infinity")
	case hasFoldPrefix(s, "inf"):
		val, n = math.Inf(1), len("inf")
	case hasFoldPrefix(s, "nan"):
		return 0, text, false
	default:
		n = floatLength(s)
		if n == 0 {
			return 0, text, true
		}
		if val, inRange = convertFloat(s[:n]); !inRange {
			return 0, text, false
		}
	}
	if negative {
		val = -val
	}
	return val, s[n:], true
}

// floatLength returns the length of the number s begins with: digits with at
// most one point among them, then an exponent.
func floatLength(s string) int {
	i, base, mark := 0, uint64(10), byte('e')
	if isHexFloat(s) {
		i, base, mark = 2, 16, 'p'
	}
	digits, point := 0, false
	for ; i < len(s); i++ {
		if digit(s[i]) < base {
			digits++
		} else if s[i] == '.' && !point {
			point = true
		} else {
			break
		}
	}
	if digits == 0 {
		return 0
	}
	return i + exponentLength(s[i:], mark)
}

func exponentLength(s string, mark byte) int {
	if s == "" || s[0]|0x20 != mark {
		return 0
	}
	i := 1
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	first := i
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	if i == first {
		return 0
	}
	return i
}

// convertFloat converts what floatLength has measured.
func convertFloat(s string) (val float64, inRange bool) {
	mantissa, _, _ := strings.Cut(strings.ToLower(s), "e")
	if isHexFloat(s) {
		mantissa, _, _ = strings.Cut(strings.ToLower(s[2:]), "p")
		if !strings.ContainsAny(s, "pP") {
			s += "p0" // Go wants an exponent there, C doesn't
		}
	}
	val, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, false
	}
	const smallestNormal = 0x1p-1022
	isZero := strings.Trim(mantissa, "0.") == ""
	return val, isZero || val >= smallestNormal // strtod calls an underflow ERANGE too
}

func scanSign(text string) (rest string, negative bool) {
	s := strings.TrimLeft(text, spaces)
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return s[1:], s[0] == '-'
	}
	return s, false
}

func isHex(s string) bool {
	return len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' && digit(s[2]) < 16
}

// isHexFloat is isHex for numbers that may begin with their point.
func isHexFloat(s string) bool {
	return isHex(s) || len(s) > 3 && s[0] == '0' && s[1]|0x20 == 'x' && s[2] == '.' && digit(s[3]) < 16
}

// digit returns the value of a digit, or a number beyond any base.
func digit(c byte) uint64 {
	switch {
	case isDigit(c):
		return uint64(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return uint64(c|0x20-'a') + 10
	}
	return math.MaxUint8
}

func hasFoldPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && foldName(s[:len(prefix)]) == prefix
}

// formatG formats as %.*g of PostgreSQL's own snprintf does. A precision of -1 gives the shortest text
// that reads back as the same number.
func formatG(f float64, precision int) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return strconv.FormatFloat(f, 'g', precision, 64)
}
