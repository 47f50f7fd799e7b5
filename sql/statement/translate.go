package statement

import (
	"strings"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql"
	"github.com/pgexthost/pgexthost/sql/scanner"
)

// Settings are those of the host and of the libraries that it has loaded.
// *guc.Store is such.
type Settings interface {
	// Lookup returns a setting. A placeholder is none of the host's.
	Lookup(name string) (guc.Setting, bool)
	// RefuseName says why no setting may have a name: its prefix is reserved for a
	// library that has none of that name. Or it returns nil.
	RefuseName(name string) *elog.ErrorData
	// CheckAlteration says why ALTER SYSTEM may not write something, or returns nil.
	CheckAlteration(a guc.Alteration) error
}

// Env is what the gateway of a session knows when it translates. Only Nonce is
// needed; what is missing is taken for nothing of the host's.
type Env struct {
	// Catalog opens the host's extension_control_path.
	Catalog func() (sql.Catalog, error)
	// Settings are the host's.
	Settings Settings
	// HasLibrary reports whether the host knows a library, by the name that LOAD
	// gives it.
	HasLibrary func(file string) bool
	// HostRole is the host's user on the server, if that is known: who does not have
	// its rights can't make schema pgexthost, as the host would not touch it.
	HostRole string
	// Nonce is what marks messages as those of the gateway's, 32 hex digits.
	Nonce string
	// ClientEncoding is the session's, as the server reports it.
	ClientEncoding string
	// InTransaction tells that the session is in a transaction block, or that the
	// command is not alone in its message.
	InTransaction bool
}

// Translate returns one SQL statement that does in the client's own session what a
// command asks for, or ok = false: it is the server's business, and is to be passed
// on unchanged. An error, such as an unknown version or a value out of range, is a
// statement that raises it. It reads the files of the catalog, and may be called by
// many goroutines at once.
//
// SHOW is always the server's: it knows the settings as placeholders, from the
// start-up packet.
func Translate(cmd scanner.Command, env Env) (text string, ok bool) {
	switch cmd := cmd.(type) {
	case scanner.CreateExtension:
		return env.createExtension(cmd)
	case scanner.DropExtension:
		return env.dropExtension(cmd)
	case scanner.AlterExtensionUpdate:
		return env.updateExtension(cmd)
	case scanner.Load:
		return env.load(cmd)
	case scanner.Set:
		return env.set(cmd, "SET")
	case scanner.Reset:
		return env.set(scanner.Set{Name: cmd.Name, ToDefault: true}, "RESET")
	case scanner.AlterSystem:
		return env.alterSystem(cmd)
	}
	return "", false
}

// load answers LOAD. There is nothing to do: the host's processes load what they
// need.
func (env Env) load(cmd scanner.Load) (string, bool) {
	if env.HasLibrary == nil || !env.HasLibrary(cmd.File) {
		return "", false
	}
	const unrestricted = "$libdir/plugins/"
	name, isPlugin := strings.CutPrefix(cmd.File, unrestricted)
	return env.block("load", values{
		"restricted": boolean(!isPlugin || strings.Contains(name, "/")),
		"denied":     quote("access to library \"" + cmd.File + "\" is not allowed"),
	}), true
}
