package gateway

import (
	"os"

	"github.com/pgexthost/pgexthost/internal/library"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql"
	"github.com/pgexthost/pgexthost/sql/scanner"
	"github.com/pgexthost/pgexthost/sql/statement"
)

// command returns the statement that does in the client's session what a command
// about the host's extensions asks for; false if it is the server's.
func (s *session) command(command scanner.Command, inBatch bool) (string, bool) {
	known := s.gateway.known.current()
	return statement.Translate(command, statement.Env{
		Catalog:        s.gateway.catalog,
		Settings:       known.store,
		HasLibrary:     s.gateway.hasLibrary,
		HostRole:       s.login,
		Nonce:          s.nonce,
		ClientEncoding: s.parameter("client_encoding"),
		InTransaction:  inBatch || s.traffic.inTransaction(),
	})
}

func (g *gateway) catalog() (sql.Catalog, error) {
	path, err := g.worker.ShowSetting(settings.ExtensionControlPath)
	if err != nil {
		return sql.Catalog{}, err
	}
	return sql.OpenCatalog(path)
}

// hasLibrary reports whether the host would find a library.
func (g *gateway) hasLibrary(name string) bool {
	search, err := g.worker.ShowSetting(settings.DynamicLibraryPath)
	if err != nil {
		return false
	}
	program, err := os.Executable()
	if err != nil {
		return false
	}
	_, err = library.Path{Search: search, Libdir: library.DefaultLibdir(program), CompiledIn: plugins.Libraries()}.Find(name)
	return err == nil
}

// caller answers the calls of one session's functions.
func (g *gateway) caller(database string, pid uint32, nonce string, fail func(*elog.ErrorData)) Caller {
	return g.answers.Attach(database, pid, nonce, fail)
}
