package scanner

import "strings"

// mode is how a quote stands for itself within quotes.
type mode uint8

const (
	doubled mode = iota // two quotes are one
	escaped             // that, and backslashes escape
	plain               // it does not
)

// ownMode is that of '…' without a letter before.
func (l *lexer) ownMode() mode {
	if l.escapes {
		return escaped
	}
	return doubled
}

// quote goes behind what is quoted, of which so many bytes open it, and what
// continues it on the next line.
func (l *lexer) quote(t *token, k kind, opening int, m mode) {
	t.kind = k
	mark := l.sql[l.at+opening-1]
	for l.at += opening; ; {
		n := bodyLength(l.sql[l.at:], mark, m)
		if n < 0 {
			t.kind = broken
			l.at = len(l.sql)
			return
		}
		l.at += n + 1
		next := -1
		if mark == '\'' {
			next = continuation(l.sql, l.at)
		}
		if next < 0 {
			return
		}
		l.at = next
	}
}

// bodyLength returns how long the text up to the closing quote is, or -1 without one.
func bodyLength(rest string, quote byte, m mode) int {
	for i := 0; i < len(rest); i++ {
		switch {
		case rest[i] == '\\' && m == escaped:
			i++
		case rest[i] != quote:
		case m != plain && i+1 < len(rest) && rest[i+1] == quote:
			i++
		default:
			return i
		}
	}
	return -1
}

// continuation returns where a text goes on, behind another quote, if that is on a
// later line with nothing but comments of one line between; or -1.
func continuation(sql string, at int) int {
	newline := false
	for {
		next, crossed := skipSpaceOnly(sql, at)
		newline = newline || crossed
		switch {
		case next < len(sql) && sql[next] == '\'' && newline:
			return next + 1
		case !strings.HasPrefix(sql[next:], "--"):
			return -1
		}
		length := strings.IndexAny(sql[next:], "\n\r")
		if length < 0 {
			return -1
		}
		at = next + length
	}
}
