package elog

import "strings"

// Level is a severity of PostgreSQL's elog.h. Higher is more important, except
// that log_min_messages ranks [Log] between [Error] and [Fatal]: see
// [Level.LoggedAt].
type Level int

// The levels, with the numbers of elog.h.
const (
	Debug5  Level = 10
	Debug4  Level = 11
	Debug3  Level = 12
	Debug2  Level = 13
	Debug1  Level = 14
	Log     Level = 15 // server operational messages; always of interest to the operator
	Info    Level = 17 // what a user asked to see
	Notice  Level = 18
	Warning Level = 19
	Error   Level = 21 // the current operation failed
	Fatal   Level = 22 // the process ends
	Panic   Level = 23 // every process ends
)

// levels lists every level once with its name, in the order of
// log_min_messages.
var levels = []struct {
	level Level
	name  string
}{
	{Debug5, "DEBUG5"}, {Debug4, "DEBUG4"}, {Debug3, "DEBUG3"}, {Debug2, "DEBUG2"}, {Debug1, "DEBUG1"},
	{Info, "INFO"}, {Notice, "NOTICE"}, {Warning, "WARNING"}, {Error, "ERROR"},
	{Log, "LOG"}, {Fatal, "FATAL"}, {Panic, "PANIC"},
}

// String returns the level's name, such as "LOG" or "DEBUG1".
func (l Level) String() string {
	for _, e := range levels {
		if e.level == l {
			return e.name
		}
	}
	return "???"
}

// severity returns the level as the log shows it: all debugging levels are
// "DEBUG". Mirrors error_severity.
func (l Level) severity() string {
	if l >= Debug5 && l <= Debug1 {
		return "DEBUG"
	}
	return l.String()
}

// LoggedAt reports whether a record of this level reaches the log when
// log_min_messages is threshold. It mirrors is_log_level_output of elog.c: the
// server's own LOG messages outrank ERROR there.
func (l Level) LoggedAt(threshold Level) bool {
	switch {
	case l == Log:
		return threshold == Log || threshold <= Error
	case threshold == Log:
		return l >= Fatal
	default:
		return l >= threshold
	}
}

// LevelNames returns the names log_min_messages accepts, in its order, in
// lower case.
func LevelNames() []string {
	names := make([]string, len(levels))
	for i, e := range levels {
		names[i] = strings.ToLower(e.name)
	}
	return names
}

// ParseLevel finds a level by name, in any case. "debug" means DEBUG2, as in
// postgresql.conf.
func ParseLevel(name string) (Level, bool) {
	if strings.EqualFold(name, "debug") {
		return Debug2, true
	}
	for _, e := range levels {
		if strings.EqualFold(name, e.name) {
			return e.level, true
		}
	}
	return 0, false
}
