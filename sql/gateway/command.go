package gateway

import (
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql/scanner"
)

// command returns the statement that does in the client's session what a command
// about the host's extensions asks for; false if it is the server's.
func (s *session) command(scanner.Command, bool) (string, bool) { return "", false }

// caller answers the calls of one session's functions.
func (g *gateway) caller(database string, pid uint32, nonce string, fail func(*elog.ErrorData)) Caller {
	return g.answers.Attach(database, pid, nonce, fail)
}
