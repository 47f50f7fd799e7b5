package guc

import (
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// foldName lowers the ASCII letters of a name, and no others, as
// guc_name_compare does: names are the same for every locale.
func foldName(name string) string {
	for i := 0; i < len(name); i++ {
		if isUpper(name[i]) {
			lowered := []byte(name)
			for ; i < len(lowered); i++ {
				if isUpper(lowered[i]) {
					lowered[i] += 'a' - 'A'
				}
			}
			return string(lowered)
		}
	}
	return name
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isLetter reports whether c can begin an identifier: an ASCII letter, an
// underscore, or a byte of anything that isn't ASCII.
func isLetter(c byte) bool { return isUpper(c) || c >= 'a' && c <= 'z' || c == '_' || c >= 0x80 }

// validName reports whether a name consists of identifiers separated by dots.
func validName(name string) bool {
	start := true
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.':
			if start {
				return false
			}
			start = true
		case isLetter(c):
			start = false
		case start || !isDigit(c) && c != '$':
			return false
		}
	}
	return !start
}

// isCustom reports whether a name is one that a plugin may own. Mirrors
// valid_custom_variable_name.
func isCustom(name string) bool { return strings.Contains(name, ".") && validName(name) }

func invalidName(name string) *elog.ErrorData {
	return elog.New(elog.Error, elog.InvalidName, "invalid configuration parameter name \"%s\"", name)
}

func invalidCustomName(name string) *elog.ErrorData {
	return invalidName(name).WithDetail("Custom parameter names must be two or more simple identifiers separated by dots.")
}

// The limits within which one name is taken for a misspelling of another. The
// length keeps the work small for names that nobody typed.
const (
	maxMisspelling    = 4
	maxMisspeltLength = 128
)

// closest returns the candidate that name was probably meant to be, or "".
// Mirrors updateClosestMatch and its limits.
func closest(name string, candidates []string) string {
	name = foldName(name)
	best, found := min(maxMisspelling, len(name)/2)+1, ""
	if len(name) > maxMisspeltLength {
		return ""
	}
	for _, c := range candidates {
		if len(c) > maxMisspeltLength || len(c)-len(name) >= best || len(name)-len(c) >= best {
			continue
		}
		if d := editDistance(name, foldName(c)); d < best {
			best, found = d, c
		}
	}
	return found
}

// editDistance is the Levenshtein distance in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			substituted := diagonal
			if a[i-1] != b[j-1] {
				substituted++
			}
			diagonal = row[j]
			row[j] = min(substituted, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
