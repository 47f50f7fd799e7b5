package scanner

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// nameLimit is the length of a name in bytes: NAMEDATALEN - 1.
const nameLimit = 63

// value returns what a word or a text stands for, or false if the server would
// refuse it, or if only the server can tell: characters by their number in an
// encoding other than UTF-8.
func (l *lexer) value(t token, isUTF8 bool) (string, bool) {
	raw := l.sql[t.start:t.end]
	switch t.kind {
	case word:
		return truncate(fold(raw), isUTF8), true
	case quotedWord:
		name := strings.ReplaceAll(raw[1:len(raw)-1], `""`, `"`)
		return truncate(name, isUTF8), name != ""
	case unicodeWord:
		end := 3 + bodyLength(raw[3:], '"', doubled)
		name, ok := unicodeUnescape(strings.ReplaceAll(raw[3:end], `""`, `"`), t.escape, isUTF8)
		return truncate(name, isUTF8), ok && name != ""
	case text:
		return l.textValue(t, isUTF8)
	}
	return "", false
}

// textValue returns what a text says.
func (l *lexer) textValue(t token, isUTF8 bool) (string, bool) {
	raw := l.sql[t.start:t.end]
	switch raw[0] {
	case '$':
		n := 2 + strings.IndexByte(raw[1:], '$')
		return raw[n : len(raw)-n], true
	case 'u', 'U':
		body, _ := joined(raw, 3, doubled, undoubled)
		value, ok := unicodeUnescape(body, t.escape, isUTF8)
		return value, ok && !l.escapes
	case 'e', 'E':
		return unescaped(raw, 2, isUTF8)
	}
	if l.escapes {
		return unescaped(raw, 1, isUTF8)
	}
	return joined(raw, 1, doubled, undoubled)
}

// undoubled is a part of a text in which two quotes are one.
func undoubled(body string) (string, bool) { return strings.ReplaceAll(body, "''", "'"), true }

// joined returns the parts of a text, each after what part makes of it.
func joined(raw string, opening int, m mode, part func(string) (string, bool)) (string, bool) {
	var value strings.Builder
	for at := opening; ; {
		n := bodyLength(raw[at:], '\'', m)
		body, ok := part(raw[at : at+n])
		if !ok {
			return "", false
		}
		value.WriteString(body)
		if at = continuation(raw, at+n+1); at < 0 {
			return value.String(), true
		}
	}
}

// unescaped is a text with backslashes.
func unescaped(raw string, opening int, isUTF8 bool) (string, bool) {
	byNumber := false
	value, ok := joined(raw, opening, escaped, func(body string) (string, bool) {
		e := unescaper{rest: body}
		for e.rest != "" && !e.bad {
			e.step()
		}
		byNumber = byNumber || e.byNumber
		return e.value.String(), !e.bad && e.pair == 0
	})
	if byNumber && (!isUTF8 || !utf8.ValidString(value)) {
		return "", false
	}
	return value, ok
}

// unescaper undoes the backslashes of one part of a text. Mirrors state xe of scan.l.
type unescaper struct {
	rest     string
	value    strings.Builder
	pair     rune // the first half of a surrogate pair
	byNumber bool // a character that is not ASCII was given by its number
	bad      bool
}

// step goes behind the next character or escape.
func (e *unescaper) step() {
	c := e.rest[0]
	if c != '\\' && e.pair == 0 {
		if c == '\'' {
			e.take(1) // it is doubled
		}
		e.value.WriteByte(c)
		e.take(1)
		return
	}
	if c != '\\' || len(e.rest) < 2 {
		e.bad = true
		return
	}
	letter := e.rest[1]
	switch {
	case letter == 'u':
		e.unicode(4)
	case letter == 'U':
		e.unicode(8)
	case e.pair != 0:
		e.bad = true
	case letter >= '0' && letter <= '7':
		e.take(1)
		e.number(3, 8)
	case letter == 'x' && len(e.rest) > 2 && hexValue(e.rest[2]) >= 0:
		e.take(2)
		e.number(2, 16)
	default:
		if i := strings.IndexByte("bfnrt", letter); i >= 0 {
			letter = "\b\f\n\r\t"[i]
		}
		e.value.WriteByte(letter)
		e.take(2)
	}
}

func (e *unescaper) take(n int) { e.rest = e.rest[n:] }

// number takes a byte of so many digits at most.
func (e *unescaper) number(digits, base int) {
	n := 0
	for ; digits > 0 && e.rest != "" && hexValue(e.rest[0]) >= 0 && hexValue(e.rest[0]) < base; digits-- {
		n = n*base + hexValue(e.rest[0])
		e.take(1)
	}
	e.bad = byte(n) == 0
	e.byNumber = e.byNumber || byte(n) >= utf8.RuneSelf
	e.value.WriteByte(byte(n))
}

// unicode takes a character by its code point.
func (e *unescaper) unicode(digits int) {
	r, ok := hexRune(e.rest[2:], digits)
	if !ok {
		e.bad = true
		return
	}
	e.take(2 + digits)
	e.bad = !addRune(&e.value, &e.pair, r)
	e.byNumber = e.byNumber || r >= utf8.RuneSelf
}

// unicodeUnescape undoes the escapes of U&"…" and U&'…'. Mirrors str_udeescape.
func unicodeUnescape(rest string, escape byte, isUTF8 bool) (string, bool) {
	if escape == 0 {
		escape = '\\'
	}
	if hexValue(escape) >= 0 || strings.IndexByte("+'\"", escape) >= 0 || isSpace(escape) {
		return "", false
	}
	var value strings.Builder
	var pair rune
	for rest != "" {
		if rest[0] != escape || len(rest) > 1 && rest[1] == escape {
			if pair != 0 {
				return "", false
			}
			value.WriteByte(rest[0])
			if rest[0] == escape {
				rest = rest[1:]
			}
			rest = rest[1:]
			continue
		}
		opening, digits := 1, 4
		if len(rest) > 1 && rest[1] == '+' {
			opening, digits = 2, 6
		}
		r, ok := hexRune(rest[opening:], digits)
		if !ok || !addRune(&value, &pair, r) || r >= utf8.RuneSelf && !isUTF8 {
			return "", false
		}
		rest = rest[opening+digits:]
	}
	return value.String(), pair == 0
}

// addRune adds a character, or the second half of one whose first was added before.
func addRune(value *strings.Builder, pair *rune, r rune) bool {
	switch {
	case *pair != 0:
		r = utf16.DecodeRune(*pair, r)
		*pair = 0
		if r == utf8.RuneError {
			return false
		}
	case r >= 0xd800 && r < 0xdc00:
		*pair = r
		return true
	}
	if r == 0 || !utf8.ValidRune(r) {
		return false
	}
	value.WriteRune(r)
	return true
}

// hexRune returns the number that exactly so many digits give.
func hexRune(rest string, digits int) (rune, bool) {
	if len(rest) < digits {
		return 0, false
	}
	r := uint32(0)
	for i := range digits {
		v := hexValue(rest[i])
		if v < 0 {
			return 0, false
		}
		r = r<<4 | uint32(v)
	}
	return rune(r), r <= utf8.MaxRune
}

func hexValue(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// fold returns a word in lower case. Mirrors downcase_identifier, in UTF-8: only
// ASCII has other cases.
func fold(word string) string {
	for i := range len(word) {
		if c := word[i]; c >= 'A' && c <= 'Z' {
			b := []byte(word)
			for ; i < len(b); i++ {
				if c := b[i]; c >= 'A' && c <= 'Z' {
					b[i] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return word
}

// truncate cuts a name to what the server keeps of it. Mirrors truncate_identifier.
func truncate(name string, isUTF8 bool) string {
	if len(name) <= nameLimit {
		return name
	}
	end := nameLimit
	for isUTF8 && end > 0 && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end]
}
