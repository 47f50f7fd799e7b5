package gateway

import (
	"bytes"
	"context"
	"slices"

	"github.com/pgexthost/pgexthost/connect"
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
	options := scanner.Options{
		StandardConformingStrings: s.parameter("standard_conforming_strings") != "off",
		ClientEncoding:            s.parameter("client_encoding"),
		ServerEncoding:            s.parameter("server_encoding"),
	}
	sql := string(text)
	statements := scanner.Scan(sql, options)
	var edits []scanner.Edit
	var references []scanner.Reference
	for _, one := range statements {
		if one.Command != nil {
			if other, ok := s.command(one.Command, simple && len(statements) > 1); ok {
				edits = append(edits, scanner.Edit{Start: one.Start, End: one.End, Text: other})
			}
			continue
		}
		references = append(references, one.References...)
	}
	edits = append(edits, s.redirect(up, references, text, len(statements) == 1)...)
	if len(edits) == 0 {
		return "", nil
	}
	other, positions := scanner.Rewrite(sql, edits, options)
	return other, positions.Original
}

// redirect gives names of the server's views and functions to those of schema
// pgexthost that know the workers, too, where there are such.
func (s *session) redirect(up *pump, references []scanner.Reference, text []byte, alone bool) (edits []scanner.Edit) {
	if len(references) == 0 || !s.gateway.settings().compat || !s.canRedirect(up, text, alone) {
		return nil
	}
	for _, r := range references {
		edits = append(edits, scanner.Edit{Start: r.Start, End: r.End, Text: "pgexthost." + r.Name})
	}
	return edits
}

// redirectable asks whether there is something to redirect names to, and whether the
// session's user may use it, and should: what its owner has written there gets the
// rights of that user. Who owns some database could make such a schema. So it has to
// be that of a role with the rights of the host's user ($1), as for calls; and that of
// a superuser, if the user is one. The catalogs themselves are asked, since
// to_regclass() is an error where the schema may not be used.
const redirectable = `SELECT 1 FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) n.nspowner
JOIN pg_catalog.pg_roles h ON h.rolname OPERATOR(pg_catalog.=) $1
WHERE n.nspname OPERATOR(pg_catalog.=) 'pgexthost' AND c.relname OPERATOR(pg_catalog.=) 'pg_stat_activity' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
AND (o.rolsuper OR pg_catalog.pg_has_role(o.oid, h.oid, 'MEMBER') AND NOT pg_catalog.current_setting('is_superuser')::pg_catalog.bool)`

// canRedirect asks the server that. Within a pipeline or a failed transaction what
// it has said last holds; so it does for several statements within a transaction, of
// which the first may be one that has to come before any query. Text is all that is
// known of them.
func (s *session) canRedirect(up *pump, text []byte, alone bool) bool {
	if s.traffic.receptive() && (alone || s.traffic.idle() || !s.asked && !comesFirst(text)) {
		rows := s.ask(up, redirectable, s.login)
		s.redirects, s.asked = len(rows) > 0 && s.canAnswer(), true
	}
	return s.redirects
}

// canAnswer reports whether there would be an answer to the calls of what names lead
// to. A server that has no room for one session more, through which to answer, is one
// whose sessions somebody wants to see, and to terminate.
func (s *session) canAnswer() bool {
	if s.calls == nil || s.gateway.answers == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelTime)
	defer cancel()
	err := s.calls.Ready(ctx)
	if !connect.IsServerEvent(err) {
		return true
	}
	warning := encodeError(elog.New(elog.Warning, connect.SQLState(err), "could not find out about background workers").
		WithDetail("%s", connect.AsErrorData(err, elog.Warning).Message))
	warning[0] = 'N'
	_, _ = s.client.Write(warning)
	return false
}

// comesFirst reports whether a text may have a statement that has to come before the
// first query of a transaction, or before its snapshot is taken: SET TRANSACTION, that
// of a setting such as transaction_isolation, or LOCK.
func comesFirst(text []byte) bool {
	lower := bytes.ToLower(text)
	return bytes.Contains(lower, []byte("transaction")) || bytes.Contains(lower, []byte("lock"))
}

// foresee asks the server before the first message of a pipeline, if one of those that
// came along with it may have a name to redirect: later it can't be asked.
func (s *session) foresee(up *pump, message []byte) {
	rest := up.behind(message)
	if s.startup.isReplication() || !scanner.MayRefer(rest) || !s.gateway.settings().compat {
		return
	}
	s.canRedirect(up, slices.Concat(message, rest), false)
}
