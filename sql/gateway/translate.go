package gateway

import (
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
	for _, one := range statements {
		if one.Command != nil {
			if other, ok := s.command(one.Command, simple && len(statements) > 1); ok {
				edits = append(edits, scanner.Edit{Start: one.Start, End: one.End, Text: other})
			}
			continue
		}
		edits = append(edits, s.redirect(up, one.References)...)
	}
	if len(edits) == 0 {
		return "", nil
	}
	other, positions := scanner.Rewrite(sql, edits, options)
	return other, positions.Original
}

// redirect gives names of the server's views and functions to those of schema
// pgexthost that know the workers, too, where there are such.
func (s *session) redirect(up *pump, references []scanner.Reference) (edits []scanner.Edit) {
	if len(references) == 0 || !s.gateway.settings().compat || !s.canRedirect(up) {
		return nil
	}
	for _, r := range references {
		edits = append(edits, scanner.Edit{Start: r.Start, End: r.End, Text: "pgexthost." + r.Name})
	}
	return edits
}

// redirectable asks whether the session's user may use what names are redirected
// to. The catalogs themselves are asked, since to_regclass() is an error where the
// schema may not be used.
const redirectable = `SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE n.nspname OPERATOR(pg_catalog.=) 'pgexthost' AND c.relname OPERATOR(pg_catalog.=) 'pg_stat_activity' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')`

// canRedirect asks the server whether the schema is there; within a pipeline or a
// failed transaction what it has said last holds.
func (s *session) canRedirect(up *pump) bool {
	if s.traffic.receptive() {
		if rows, ok := s.inject(up, redirectable); ok {
			s.redirects = len(rows) > 0
		}
	}
	return s.redirects
}
