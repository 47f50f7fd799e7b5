package gateway

import (
	"slices"
	"strings"
)

// setting returns the value that the client gives a setting: by a parameter of its
// name, or else by the switches in "options" (psql's PGOPTIONS).
func (s *startup) setting(name string) (value string, given bool) {
	for _, p := range slices.Backward(s.parameters) {
		if strings.EqualFold(p.name, name) {
			return p.value, true
		}
	}
	arguments := splitOptions(s.get("options"))
	for len(arguments) > 0 && arguments[0] != "--" {
		assignment, isLong := strings.CutPrefix(arguments[0], "--")
		behind, isShort := strings.CutPrefix(arguments[0], "-c")
		arguments = arguments[1:]
		switch {
		case isShort && behind == "" && len(arguments) > 0:
			assignment, arguments = arguments[0], arguments[1:]
		case isShort:
			assignment = behind
		case !isLong:
			continue
		}
		if option, v, ok := strings.Cut(assignment, "="); ok && strings.EqualFold(strings.ReplaceAll(option, "-", "_"), name) {
			value, given = v, true
		}
	}
	return value, given
}

// splitOptions takes the value of "options" apart: at spaces, unless a backslash is
// before. Mirrors pg_split_opts.
func splitOptions(options string) (arguments []string) {
	var b strings.Builder
	begun := false
	for i := 0; i < len(options); i++ {
		c := options[i]
		switch {
		case !isSpace(c):
			if c == '\\' {
				if i++; i == len(options) {
					break
				}
				c = options[i]
			}
			b.WriteByte(c)
			begun = true
		case begun:
			arguments = append(arguments, b.String())
			b.Reset()
			begun = false
		}
	}
	if begun {
		arguments = append(arguments, b.String())
	}
	return arguments
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
