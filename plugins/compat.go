package plugins

import "github.com/pgexthost/pgexthost/internal/settings"

// Personality is a major version of PostgreSQL whose background workers a host
// reproduces: the setting compat_version. The zero value is the default, 18.
type Personality int

// The personalities.
const (
	Postgres12 Personality = 12
	Postgres13 Personality = 13
	Postgres18 Personality = 18
)

// traits are the few things in which the personalities differ. This table is
// the only place that knows.
type traits struct {
	sharedMemoryIsOptional bool // ShmemAccess need not be set
	libraryNameSize        int  // with the trailing NUL
}

var personalities = map[Personality]traits{
	Postgres12: {sharedMemoryIsOptional: true, libraryNameSize: BGWMaxLen},
	Postgres13: {sharedMemoryIsOptional: true, libraryNameSize: BGWMaxLen},
	Postgres18: {libraryNameSize: MaxPGPath},
}

// traits returns those of the personality, and of 18 for an unknown one.
func (p Personality) traits() traits {
	if t, ok := personalities[p]; ok {
		return t
	}
	return personalities[Postgres18]
}

// ParsePersonality returns the personality that a value of compat_version
// names.
func ParsePersonality(version string) Personality {
	for p := range personalities {
		if p.String() == version {
			return p
		}
	}
	return Postgres18
}

// String returns the value of compat_version.
func (p Personality) String() string {
	switch p {
	case Postgres12:
		return "12"
	case Postgres13:
		return "13"
	}
	return "18"
}

// personality is that of the host, as this process knows it.
func (s *ownSettings) personality() Personality {
	return ParsePersonality(s.store.Enum(settings.CompatVersion))
}
