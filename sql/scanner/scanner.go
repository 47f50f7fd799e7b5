package scanner

import "strings"

// Options are what the session decides about the meaning of a text. The zero value
// is not that of a usual session, in which StandardConformingStrings is on.
type Options struct {
	// StandardConformingStrings is the session's setting of that name: if off,
	// backslashes escape in '…', too.
	StandardConformingStrings bool
	// ClientEncoding and ServerEncoding are as the server reports them ("UTF8",
	// "SQL_ASCII", "LATIN1", …). Nothing is found in an encoding whose characters
	// can contain the bytes of others, such as SJIS. ServerEncoding matters to
	// [Rewrite] alone, and only beside SQL_ASCII, where the server counts its own
	// characters; empty stands for the client's.
	ClientEncoding, ServerEncoding string
}

// Statement is one of a text, and what it is to the host.
type Statement struct {
	// Start and End are bytes of the text, without the semicolon and without the
	// space and the comments around the statement. A statement has at least a
	// word or a sign: what is empty is left out.
	Start, End int
	// Command is what the whole statement says, if that is one of the commands of
	// this package, or nil.
	Command Command
	// References are the names in it that may be redirected, in the order of the
	// text.
	References []Reference
	// Unterminated tells that a quote, a comment, a parenthesis or the body of a
	// function is still open at the end of the text: the server will refuse all of
	// it. Then there is neither a Command nor a Reference.
	Unterminated bool
}

// Reference is a place where a statement means a relation or a function that the
// host has its own of.
type Reference struct {
	// Name is folded to lower case, and without "pg_catalog.": "pg_stat_activity",
	// "pg_wait_events", "pg_terminate_backend", "pg_cancel_backend" or
	// "pg_reload_conf".
	Name string
	// Start and End are bytes of the text, and include "pg_catalog." if the
	// statement has it: a name with a schema can stand in for all of them.
	Start, End int
}

// Scan splits sql into the statements that the server would find there, and tells
// for each what it is. The work grows with the length of sql and with nothing else.
// It may be called by many goroutines at once.
//
// A text with a NUL byte, which the protocol can't carry, has no statements, nor
// has one in an encoding whose characters can contain the bytes of others.
func Scan(sql string, o Options) []Statement {
	if strings.IndexByte(sql, 0) >= 0 || embedsASCII(o.ClientEncoding) {
		return nil
	}
	var all []Statement
	l := lexer{sql: sql, escapes: !o.StandardConformingStrings}
	isUTF8 := isUTF8(o.ClientEncoding)
	for {
		s, concerns, found := l.statement()
		if !found {
			return all
		}
		if !s.Unterminated {
			p := newParser(lexer{sql: sql[:s.End], at: s.Start, escapes: l.escapes}, isUTF8)
			s.Command = p.command()
			if s.Command == nil && concerns {
				s.References = newParser(p.begin, isUTF8).references()
			}
		}
		all = append(all, s)
	}
}
