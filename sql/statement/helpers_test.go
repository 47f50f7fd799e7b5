package statement_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/sql"
	"github.com/pgexthost/pgexthost/sql/scanner"
	"github.com/pgexthost/pgexthost/sql/statement"
)

// shipped is the catalog of a directory with scripts of plugins, and those of this
// program.
func shipped(t *testing.T, scripts map[string]string) (c sql.Catalog, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "extension")
	check(t, os.Mkdir(dir, 0o700))
	for name, text := range scripts {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	c, err := sql.OpenCatalog(filepath.Dir(dir) + ":$system")
	check(t, err)
	return c, dir
}

// bare is an environment of which nothing is known.
var bare = statement.Env{Nonce: nonce}

func translated(cmd scanner.Command, env statement.Env) (string, bool) {
	return statement.Translate(cmd, env)
}

// connected opens a session as "pgexthost extension" does.
func connected(t *testing.T, c *client) *connect.Conn {
	t.Helper()
	config, err := connect.ParseConninfo(server.Conninfo(t, c.query("SELECT current_database()"), c.query("SELECT current_user")))
	check(t, err)
	conn, err := connect.Open(within(t), config, t.Name())
	check(t, err)
	t.Cleanup(func() { conn.HangUp(context.Background()) })
	return conn
}
