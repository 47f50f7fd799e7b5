package guc

import (
	"fmt"
	"slices"
)

// Context says when a variable may be set. Mirrors GucContext.
type Context int

// The contexts, from the strictest to the most liberal.
const (
	Internal         Context = iota // never by a user: only shown
	Postmaster                      // at the start of the host only
	Sighup                          // at start, and by a reload of the files
	SuperuserBackend                // as Backend, for superusers
	Backend                         // at start, or by a reload for processes started after it
	Suset                           // as User, for superusers
	User                            // at any time by anyone
)

var contextNames = []string{"internal", "postmaster", "sighup", "superuser-backend", "backend", "superuser", "user"}

// String returns the word of pg_settings.context.
func (c Context) String() string { return nameOf(contextNames, int(c)) }

// MarshalText encodes the context as its word.
func (c Context) MarshalText() ([]byte, error) { return marshalName(contextNames, int(c), "context") }

// UnmarshalText decodes what MarshalText wrote and refuses anything else.
func (c *Context) UnmarshalText(text []byte) error {
	return unmarshalName(contextNames, text, "context", (*int)(c))
}

// Source says where a value comes from. A later one wins over an earlier one,
// in whatever order they are applied. Mirrors GucSource.
type Source int

// The sources, from the weakest to the strongest.
const (
	SourceDefault     Source = iota // the definition's Default
	SourceFile                      // a configuration file
	SourceCommandLine               // -c name=value
	SourceOverride                  // set by the process itself
)

var sourceNames = []string{"default", "configuration file", "command line", "override"}

// String returns the word of pg_settings.source.
func (s Source) String() string { return nameOf(sourceNames, int(s)) }

// MarshalText encodes the source as its word.
func (s Source) MarshalText() ([]byte, error) { return marshalName(sourceNames, int(s), "source") }

// UnmarshalText decodes what MarshalText wrote and refuses anything else.
func (s *Source) UnmarshalText(text []byte) error {
	return unmarshalName(sourceNames, text, "source", (*int)(s))
}

// Type is the type of a variable's value. Mirrors config_type.
type Type int

// The types.
const (
	TypeBool Type = iota
	TypeInt       // 32 bits, as in PostgreSQL
	TypeReal
	TypeString
	TypeEnum
)

var typeNames = []string{"bool", "integer", "real", "string", "enum"}

// String returns the word of pg_settings.vartype.
func (t Type) String() string { return nameOf(typeNames, int(t)) }

// MarshalText encodes the type as its word.
func (t Type) MarshalText() ([]byte, error) { return marshalName(typeNames, int(t), "type") }

// UnmarshalText decodes what MarshalText wrote and refuses anything else.
func (t *Type) UnmarshalText(text []byte) error {
	return unmarshalName(typeNames, text, "type", (*int)(t))
}

// isKnown reports whether i is one of the constants that names names.
func isKnown(names []string, i int) bool { return i >= 0 && i < len(names) }

func nameOf(names []string, i int) string {
	if !isKnown(names, i) {
		return "???"
	}
	return names[i]
}

func marshalName(names []string, i int, what string) ([]byte, error) {
	if !isKnown(names, i) {
		return nil, fmt.Errorf("unknown %s %d", what, i)
	}
	return []byte(names[i]), nil
}

func unmarshalName(names []string, text []byte, what string, into *int) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return fmt.Errorf("unknown %s %q", what, text)
	}
	*into = i
	return nil
}
