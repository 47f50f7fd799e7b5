package scanner

import (
	"strings"
	"unicode/utf8"
)

// kind is what a token is.
type kind uint8

const (
	endOfText   kind = iota
	broken           // a quote or comment that is not closed, up to the end
	word             // an identifier or keyword, not quoted
	quotedWord       // "…"
	unicodeWord      // U&"…", with its UESCAPE
	text             // '…', E'…', U&'…' with its UESCAPE, $tag$…$tag$
	bits             // B'…', X'…'
	number           // without its sign
	parameter        // $1
	symbol           // an operator, or one of the signs that are none: "(", ".", "::", …
)

// token is a piece of the text from start to end.
type token struct {
	kind       kind
	escape     byte // what UESCAPE says, or 0
	start, end int
}

// lexer goes through a text token by token, as the server does. Mirrors scan.l,
// those of PostgreSQL 14 to 18 together: where they differ (vertical tabs, numbers
// with underscores, junk after numbers), the older server or the newer one refuses
// the whole text.
type lexer struct {
	sql     string
	at      int
	escapes bool // backslashes escape in '…': standard_conforming_strings is off
	signs   signs
}

// signs is what is known of characters that operators are made of, so that "+-+-+-"
// is not looked through once for each of them.
type signs struct {
	end   int // up to here there are only such as SQL's own operators have
	solid int // behind the last of these that is neither "+" nor "-"
}

// next returns the next token, and goes behind it.
func (l *lexer) next() token {
	var closed bool
	l.at, closed = skipSpace(l.sql, l.at)
	t := token{start: l.at}
	if !closed {
		l.at = len(l.sql)
		return token{kind: broken, start: t.start, end: l.at}
	}
	if l.at == len(l.sql) {
		t.end = l.at
		return t
	}
	switch c := l.sql[l.at]; {
	case isWordStart(c):
		l.word(&t)
	case c == '\'':
		l.quote(&t, text, 1, l.ownMode())
	case c == '"':
		l.quote(&t, quotedWord, 1, doubled)
	case c == '$':
		l.dollar(&t)
	case isDigit(c), c == '.' && l.peek(1) >= '0' && l.peek(1) <= '9':
		t.kind = number
		l.at += numberLength(l.sql[l.at:])
	default:
		t.kind = symbol
		l.at += l.symbolLength()
	}
	t.end = l.at
	if t.kind == unicodeWord || t.kind == text && l.sql[t.start]|0x20 == 'u' {
		l.unicodeEscape(&t)
	}
	return t
}

// peek returns the byte that many further, or 0 at the end.
func (l *lexer) peek(n int) byte {
	if l.at+n < len(l.sql) {
		return l.sql[l.at+n]
	}
	return 0
}

// word goes behind a word, or behind a quote of which its only letter tells the kind.
func (l *lexer) word(t *token) {
	switch c := l.sql[l.at] | 0x20; {
	case l.peek(1) == '\'' && (c == 'b' || c == 'x'):
		l.quote(t, bits, 2, plain)
		return
	case l.peek(1) == '\'' && c == 'e':
		l.quote(t, text, 2, escaped)
		return
	case l.peek(1) == '&' && l.peek(2) == '\'' && c == 'u':
		l.quote(t, text, 3, doubled)
		return
	case l.peek(1) == '&' && l.peek(2) == '"' && c == 'u':
		l.quote(t, unicodeWord, 3, doubled)
		return
	}
	t.kind = word
	for l.at++; l.at < len(l.sql) && isWordPart(l.sql[l.at]); {
		l.at++
	}
}

// dollar goes behind $tag$…$tag$, $1, or a dollar sign that is an error.
func (l *lexer) dollar(t *token) {
	n := 1
	for isWordStart(l.peek(n)) || n > 1 && isDigit(l.peek(n)) {
		n++
	}
	if l.peek(n) == '$' {
		delimiter := l.sql[l.at : l.at+n+1]
		body := l.at + len(delimiter)
		if end := strings.Index(l.sql[body:], delimiter); end >= 0 {
			t.kind = text
			l.at = body + end + len(delimiter)
		} else {
			t.kind = broken
			l.at = len(l.sql)
		}
		return
	}
	t.kind = symbol
	for l.at++; isDigit(l.peek(0)); l.at++ {
		t.kind = parameter
	}
}

// unicodeEscape takes UESCAPE and its text to the token before. Mirrors base_yylex.
// It looks no further than that, however many such tokens follow.
func (l *lexer) unicodeEscape(t *token) {
	const keyword = "uescape"
	ahead := *l
	ahead.at, _ = skipSpace(l.sql, ahead.at)
	if !hasPrefixFold(l.sql[ahead.at:], keyword) || isWordPart(ahead.peek(len(keyword))) {
		return
	}
	ahead.at, _ = skipSpace(l.sql, ahead.at+len(keyword))
	if ahead.peek(0)|0x20 == 'u' {
		return
	}
	next := ahead.next()
	if value, ok := ahead.value(next, false); ok && next.kind == text && len(value) == 1 {
		t.escape = value[0]
		t.end = next.end
		l.at = ahead.at
	}
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// skipSpace returns where the next token begins, or where a comment does that is not
// closed, and false.
func skipSpace[T string | []byte](sql T, at int) (int, bool) {
	for {
		at, _ = skipSpaceOnly(sql, at)
		switch {
		case at+1 >= len(sql):
			return at, true
		case sql[at] == '-' && sql[at+1] == '-':
			for at += 2; at < len(sql) && sql[at] != '\n' && sql[at] != '\r'; {
				at++
			}
		case sql[at] == '/' && sql[at+1] == '*':
			end := skipComment(sql, at)
			if end < 0 {
				return at, false
			}
			at = end
		default:
			return at, true
		}
	}
}

// skipSpaceOnly returns where the next token or comment begins, and whether there
// was a line's end before.
func skipSpaceOnly[T string | []byte](sql T, at int) (next int, newline bool) {
	for ; at < len(sql) && isSpace(sql[at]); at++ {
		newline = newline || sql[at] == '\n' || sql[at] == '\r'
	}
	return at, newline
}

// skipComment returns where a comment with the comments in it ends, or -1.
func skipComment[T string | []byte](sql T, at int) int {
	depth := 0
	for at+1 < len(sql) {
		switch {
		case sql[at] == '/' && sql[at+1] == '*':
			depth++
			at += 2
		case sql[at] == '*' && sql[at+1] == '/':
			at += 2
			if depth--; depth == 0 {
				return at
			}
		default:
			at++
		}
	}
	return -1
}

// symbolLength returns how many bytes belong to the operator or sign that begins
// here. A "+" or "-" at its end is the sign of what follows, unless the operator has
// a character that SQL's own have not: "=-1" is "=" and "-1", "@-1" is "@-" and "1".
func (l *lexer) symbolLength() int {
	rest := l.sql[l.at:]
	if !isOperator(rest[0]) {
		for _, pair := range [...]string{"::", "..", ":="} {
			if strings.HasPrefix(rest, pair) {
				return len(pair)
			}
		}
		return 1
	}
	if l.at >= l.signs.end {
		n, solid := 0, 0
		special := false
		for n < len(rest) && isOperator(rest[n]) && !beginsComment(rest[n:]) {
			special = special || strings.IndexByte("~!@#^&|`?%", rest[n]) >= 0
			if n++; rest[n-1] != '+' && rest[n-1] != '-' {
				solid = n
			}
		}
		if special {
			return n
		}
		l.signs = signs{end: l.at + n, solid: l.at + solid}
	}
	return max(1, l.signs.solid-l.at)
}

func beginsComment(rest string) bool {
	return strings.HasPrefix(rest, "--") || strings.HasPrefix(rest, "/*")
}

// numberLength returns how many bytes belong to the number that begins here.
func numberLength(rest string) int {
	if n := basedLength(rest); n > 0 {
		return n
	}
	n := digits(rest)
	if n < len(rest) && rest[n] == '.' && (n == 0 || !strings.HasPrefix(rest[n:], "..")) {
		n++
		n += digits(rest[n:])
	}
	if n < len(rest) && rest[n]|0x20 == 'e' {
		exponent := n + 1
		if exponent < len(rest) && (rest[exponent] == '+' || rest[exponent] == '-') {
			exponent++
		}
		if length := digits(rest[exponent:]); length > 0 {
			n = exponent + length
		}
	}
	return n
}

// basedLength is numberLength for 0x…, 0o… and 0b…, of PostgreSQL 16, or 0.
func basedLength(rest string) int {
	if len(rest) < 3 || rest[0] != '0' {
		return 0
	}
	var allowed string
	switch rest[1] | 0x20 {
	case 'x':
		allowed = "0123456789abcdefABCDEF"
	case 'o':
		allowed = "01234567"
	case 'b':
		allowed = "01"
	default:
		return 0
	}
	if n := digitsOf(rest[2:], allowed, true); n > 0 {
		return 2 + n
	}
	return 0
}

// digits returns how many digits begin here, with underscores between.
func digits(rest string) int { return digitsOf(rest, "0123456789", false) }

func digitsOf(rest, allowed string, underscoreFirst bool) int {
	n := 0
	for n < len(rest) {
		switch {
		case strings.IndexByte(allowed, rest[n]) >= 0:
			n++
		case rest[n] == '_' && (n > 0 || underscoreFirst) && n+1 < len(rest) && strings.IndexByte(allowed, rest[n+1]) >= 0:
			n += 2
		default:
			return n
		}
	}
	return n
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWordStart(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= utf8.RuneSelf
}

func isWordPart(c byte) bool { return isWordStart(c) || isDigit(c) || c == '$' }

func isOperator(c byte) bool { return strings.IndexByte("~!@#^&|`?+-*/%<>=", c) >= 0 }
