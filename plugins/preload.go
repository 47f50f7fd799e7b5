package plugins

import (
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// SplitLibraries splits the value of a setting such as
// shared_preload_libraries: names separated by commas, with double quotes
// around those that contain commas or blanks. It returns an error with
// SQLSTATE 42601 that names the parameter. Mirrors SplitDirectoriesString.
func SplitLibraries(list, parameter string) ([]string, error) {
	invalid := func() error {
		return elog.New(elog.Error, elog.SyntaxError, "invalid list syntax in parameter \"%s\"", parameter)
	}
	rest := strings.TrimSpace(list)
	if rest == "" {
		return nil, nil
	}
	var names []string
	for {
		var name string
		if strings.HasPrefix(rest, `"`) {
			end := closingQuote(rest)
			if end < 0 {
				return nil, invalid()
			}
			name = strings.ReplaceAll(rest[1:end], `""`, `"`)
			rest = strings.TrimSpace(rest[end+1:])
			if rest != "" && rest[0] != ',' {
				return nil, invalid()
			}
		} else {
			name, _, _ = strings.Cut(rest, ",")
			rest = rest[len(name):]
			name = strings.TrimSpace(name)
		}
		if name == "" {
			return nil, invalid()
		}
		names = append(names, name)
		if rest == "" {
			return names, nil
		}
		rest = strings.TrimSpace(rest[1:]) // the comma
	}
}

// closingQuote returns the index of the quote that ends a quoted name; doubled
// quotes stand for themselves.
func closingQuote(s string) int {
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			i++
			continue
		}
		return i
	}
	return -1
}
