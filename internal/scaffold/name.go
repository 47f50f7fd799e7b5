package scaffold

import (
	"regexp"
	"slices"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// longestName leaves room for "_task_todo" and the like within an identifier of
// the server.
const longestName = 48

// plainName is what a library, the prefix of its settings, a table, a channel and a
// function can all be called, without quotes.
var plainName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// modulePath is what the go command takes for a module of one's own, roughly.
var modulePath = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._~-]*(/[A-Za-z0-9_][A-Za-z0-9._~-]*)*$`)

func (o *Options) check() error {
	refuse := func(format string, args ...any) *elog.ErrorData {
		return elog.New(elog.Error, elog.InvalidName, format, args...)
	}
	switch {
	case !plainName.MatchString(o.Name):
		return refuse("invalid library name: \"%s\"", o.Name).
			WithDetail("It has to begin with a lower-case letter, and to consist of lower-case letters, digits and underscores.")
	case len(o.Name) > longestName:
		return refuse("library name \"%s\" is too long", o.Name).WithDetail("It may have %d characters.", longestName)
	case o.Name == plugins.InternalLibrary:
		return refuse("library name \"%s\" is reserved", o.Name).WithDetail("It stands for the host's internal functions.")
	case slices.Contains(o.Taken, o.Name):
		return refuse("library name \"%s\" is taken", o.Name).WithDetail("A library of that name is a part of the host.")
	case o.Module == handshake.Module:
		return refuse("module path \"%s\" is taken", o.Module).WithDetail("It is that of pgexthost, which the module requires.")
	case !modulePath.MatchString(o.Module):
		return refuse("invalid module path: \"%s\"", o.Module).WithHint("A module path looks like example.com/me/%s.", o.Name)
	}
	return nil
}
