package statement

import (
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// markerPrefix is what the CONSTRAINT of the gateway's own messages begins with; the
// session's nonce follows.
const markerPrefix = "pgexthost:"

// tagState is the SQLSTATE of the message that says which command tag to put in the
// place of that of a DO.
const tagState = "PX002"

// Tag returns the command tag that a notice puts in the place of the one that comes
// next. Such a notice is not for the client; ok = false says that it is.
func Tag(n *pgproto3.NoticeResponse, nonce string) (tag string, ok bool) {
	if n.Code != tagState || n.Detail != nonce || nonce == "" {
		return "", false
	}
	return n.Message, true
}

// Polish takes from an error or a notice that one of the package's statements has
// raised on purpose what tells of that statement, and reports whether it is such a
// one. Others are left as they are. What is left is what PostgreSQL says of the
// client's own command; its CONTEXT, if any, tells the place in a script.
//
//	n := pgproto3.ErrorResponse(*notice) // for a notice
func Polish(e *pgproto3.ErrorResponse, nonce string) bool {
	if !IsMarked(e.ConstraintName, nonce) {
		return false
	}
	e.Where, e.DataTypeName, e.ConstraintName = e.DataTypeName, "", ""
	e.File, e.Line, e.Routine = "", 0, ""
	e.Position, e.InternalPosition, e.InternalQuery = 0, 0, ""
	return true
}

// IsMarked reports whether the constraint that an error or a notice names says that
// it is one for Polish.
func IsMarked(constraint, nonce string) bool {
	rest, ours := strings.CutPrefix(constraint, markerPrefix)
	return ours && rest == nonce && nonce != ""
}
