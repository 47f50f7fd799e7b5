package gateway

import (
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql/scanner"
)

// translate returns what goes to the server instead of a text of the client's, and
// the way back from places in it to those in the text; nil if the text goes as it
// is.
func (s *session) translate(up *pump, text []byte, simple bool) (string, func(int) int) {
	if s.startup.isReplication() || !scanner.MayConcern(text) {
		return "", nil
	}
	return "", nil
}

// caller answers the calls of one session's functions.
func (g *gateway) caller(database string, pid uint32, nonce string, fail func(*elog.ErrorData)) Caller {
	return nil
}
