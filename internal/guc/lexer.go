package guc

import "strings"

// tokenKind is what the scanner of guc-file.l returns.
type tokenKind int

const (
	tokenEOF tokenKind = iota
	tokenEOL
	tokenEquals
	tokenID          // name
	tokenQualifiedID // name.name
	tokenString      // 'quoted'
	tokenUnquoted    // name-with.punctuation:/
	tokenInteger     // 10, 0x1F, 10min
	tokenReal        // 1.5, 1.5e3
	tokenError       // a byte that begins none of these
)

type token struct {
	kind tokenKind
	text string
}

// endsLine reports whether nothing more is to come on the line.
func (t token) endsLine() bool { return t.kind == tokenEOL || t.kind == tokenEOF }

// isValue reports whether the token may stand where a value is expected. A
// qualified name may not: PostgreSQL wants it quoted.
func (t token) isValue() bool {
	switch t.kind {
	case tokenID, tokenString, tokenUnquoted, tokenInteger, tokenReal:
		return true
	}
	return false
}

// lexer cuts a configuration file into tokens: at each point the longest one
// that fits, as flex does. It consumes at least one byte a token, whatever the
// bytes are.
type lexer struct {
	rest string
	line int // of the next token, from 1
}

func (l *lexer) next() token {
	l.skipBlanks()
	if l.rest == "" {
		return token{kind: tokenEOF}
	}
	switch c := l.rest[0]; {
	case c == '\n':
		l.line++
		return l.take(tokenEOL, 1)
	case c == '=':
		return l.take(tokenEquals, 1)
	case c == '\'':
		if n := stringLength(l.rest); n > 0 {
			return l.take(tokenString, n)
		}
	case isLetter(c):
		return l.take(scanWord(l.rest))
	default:
		if kind, n := scanNumber(l.rest); n > 0 {
			return l.take(kind, n)
		}
	}
	return l.take(tokenError, 1)
}

func (l *lexer) take(kind tokenKind, n int) token {
	t := token{kind, l.rest[:n]}
	l.rest = l.rest[n:]
	return t
}

// skipBlanks skips white space within the line, and a comment up to its end.
func (l *lexer) skipBlanks() {
	l.rest = strings.TrimLeft(l.rest, " \t\r")
	if strings.HasPrefix(l.rest, "#") {
		if end := strings.IndexByte(l.rest, '\n'); end >= 0 {
			l.rest = l.rest[end:]
		} else {
			l.rest = ""
		}
	}
}

// stringLength returns the length of the quoted string s begins with, or 0. A
// string ends at the last quote that can end it, so a doubled one goes on
// only if another follows on the line.
func stringLength(s string) int {
	end := 0
	for i := 1; i < len(s) && s[i] != '\n'; i++ {
		switch s[i] {
		case '\\':
			i++
			if i == len(s) || s[i] == '\n' {
				return end
			}
		case '\'':
			end = i + 1
			if end == len(s) || s[end] != '\'' {
				return end
			}
			i++ // a doubled quote
		}
	}
	return end
}

// scanWord tells the three kinds of words apart, the first byte being a letter.
func scanWord(s string) (kind tokenKind, n int) {
	n = 1
	for n < len(s) && (isLetter(s[n]) || isDigit(s[n]) || strings.IndexByte("-._:/", s[n]) >= 0) {
		n++
	}
	word := s[:n]
	switch {
	case !strings.ContainsAny(word, "-.:/"):
		return tokenID, n
	case !strings.ContainsAny(word, "-:/") && strings.Count(word, ".") == 1 && validName(word):
		return tokenQualifiedID, n
	}
	return tokenUnquoted, n
}

// scanNumber returns the longer of an integer, with the letters of a unit, and
// a real number, which can't have a unit unless quoted.
func scanNumber(s string) (kind tokenKind, n int) {
	sign := 0
	if s[0] == '+' || s[0] == '-' {
		sign = 1
	}
	integer, fraction := integerLength(s[sign:]), realLength(s[sign:])
	switch {
	case integer == 0 && fraction == 0:
		return tokenError, 0
	case fraction > integer:
		return tokenReal, sign + fraction
	}
	return tokenInteger, sign + integer
}

func integerLength(s string) int {
	i := 0
	if isHex(s) && s[1] == 'x' {
		for i = 2; i < len(s) && digit(s[i]) < 16; i++ {
		}
	} else {
		i = digitsLength(s)
	}
	if i == 0 {
		return 0
	}
	for i < len(s) && (isUpper(s[i]) || s[i] >= 'a' && s[i] <= 'z') {
		i++
	}
	return i
}

// realLength wants a point, but no digit.
func realLength(s string) int {
	i := digitsLength(s)
	if i == len(s) || s[i] != '.' {
		return 0
	}
	i++
	i += digitsLength(s[i:])
	return i + exponentLength(s[i:], 'e')
}

func digitsLength(s string) int {
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i
}

// unquote strips the quotes of a string token and resolves ” and backslash
// escapes. A NUL ends the value, as it would in C. Mirrors
// DeescapeQuotedString.
func unquote(quoted string) string {
	s := quoted[1 : len(quoted)-1]
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			c, n := unescape(s[i+1:])
			b.WriteByte(c)
			i += n
		case s[i] == '\'':
			b.WriteByte('\'')
			i++ // its double
		default:
			b.WriteByte(s[i])
		}
	}
	value, _, _ := strings.Cut(b.String(), "\x00")
	return value
}

// unescape resolves what follows a backslash, and returns its length.
func unescape(s string) (c byte, n int) {
	if at := strings.IndexByte("bfnrt", s[0]); at >= 0 {
		return "\b\f\n\r\t"[at], 1
	}
	for n < len(s) && n < 3 && s[n] >= '0' && s[n] <= '7' {
		c = c<<3 + s[n] - '0'
		n++
	}
	if n == 0 {
		return s[0], 1
	}
	return c, n
}
