package elog

import "strings"

// Destination is a set of the forms in which a [Logger] writes its records.
type Destination uint8

// The forms, with PostgreSQL's numbers. Both go to the same place: without a
// logging collector, that is standard error.
const (
	DestinationStderr  Destination = 1  // log_line_prefix and text
	DestinationJSONLog Destination = 16 // one JSON object per record
)

// ParseDestinations reads a value of log_destination: a list of "stderr" and
// "jsonlog", separated by commas, in any case. With an empty list nothing is
// logged at all, as in PostgreSQL. The error is an *ErrorData in PostgreSQL's
// words. Mirrors check_log_destination.
func ParseDestinations(list string) (Destination, error) {
	refuse := func(detail string) error {
		return &ErrorData{
			Level: Error, Code: InvalidParameterValue,
			Message: "invalid value for parameter \"log_destination\": \"" + list + "\"", Detail: detail,
		}
	}
	names, ok := splitIdentifiers(list)
	if !ok {
		return 0, refuse("List syntax is invalid.")
	}
	var to Destination
	for _, name := range names {
		switch lowerASCII(name) {
		case "stderr":
			to |= DestinationStderr
		case "jsonlog":
			to |= DestinationJSONLog
		default:
			return 0, refuse("Unrecognized key word: \"" + name + "\".")
		}
	}
	return to, nil
}

// listSpace is what scanner_isspace takes for white space.
const listSpace = " \t\n\r\f\v"

// splitIdentifiers splits a list of identifiers at its commas: unquoted ones
// become lower case and end at white space, quoted ones are taken as they are.
// An empty list is none; an empty unquoted identifier is a mistake. Mirrors
// SplitIdentifierString, but for its cutting off at 63 bytes.
func splitIdentifiers(list string) (names []string, ok bool) {
	rest := strings.TrimLeft(list, listSpace)
	if rest == "" {
		return nil, true
	}
	for {
		var name string
		if name, rest, ok = cutIdentifier(rest); !ok {
			return nil, false
		}
		names = append(names, name)
		rest = strings.TrimLeft(rest, listSpace)
		if rest == "" {
			return names, true
		}
		if rest[0] != ',' {
			return nil, false
		}
		rest = strings.TrimLeft(rest[1:], listSpace)
	}
}

func cutIdentifier(s string) (name, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, listSpace+",")
		if end < 0 {
			end = len(s)
		}
		return lowerASCII(s[:end]), s[end:], end > 0
	}
	for end := 1; end < len(s); end++ {
		if s[end] != '"' {
			continue
		}
		if !strings.HasPrefix(s[end+1:], `"`) {
			return strings.ReplaceAll(s[1:end], `""`, `"`), s[end+1:], true
		}
		end++ // a doubled quote stands for itself
	}
	return "", "", false
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
