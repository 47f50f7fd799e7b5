package sql

import (
	"strings"
	"unicode/utf8"
)

// statement is one of a script, without what comes before its first word.
type statement struct {
	text string
	line int // of its first word, from 1
}

// statements splits a script at the semicolons that end statements, as psql does:
// not at those within quotes, comments, parentheses and the bodies of functions
// (BEGIN ATOMIC).
func statements(script string) []statement {
	var all []statement
	l := lexer{script: script}
	line, counted := 1, 0
	for {
		l.skipBlank()
		if l.at == len(script) {
			return all
		}
		start := l.at
		end := l.statement()
		if text := script[start:end]; text != "" {
			line, counted = line+strings.Count(script[counted:start], "\n"), start
			all = append(all, statement{text, line})
		}
	}
}

// controlsTransaction reports whether the statement would begin or end a
// transaction or a part of it.
func (s statement) controlsTransaction() bool {
	l := lexer{script: s.text}
	var words [2]string
	for i := range words {
		l.skipBlank()
		words[i] = strings.ToUpper(l.word())
	}
	switch words[0] {
	case "BEGIN", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE":
		return true
	case "START", "PREPARE":
		return words[1] == "TRANSACTION"
	}
	return false
}

// copiesFromClient reports whether the statement is a COPY whose data are with the
// client: here nobody has any.
func (s statement) copiesFromClient() bool {
	l := lexer{script: s.text}
	var words []string // outside of parentheses
	for parentheses := 0; l.at < len(l.script); {
		switch c := l.script[l.at]; {
		case isWordStart(c):
			if word := l.wordOrString(); parentheses == 0 {
				words = append(words, word)
			}
		case l.quoted(), l.comment():
		default:
			parentheses += depthOf(c)
			l.at++
		}
	}
	for i := range len(words) - 1 {
		if words[i] == "FROM" && words[i+1] == "STDIN" || words[i] == "TO" && words[i+1] == "STDOUT" {
			return words[0] == "COPY"
		}
	}
	return false
}

// lineOf returns the line of a place in the statement: a number of characters, from
// 1, as the server gives it, or 0 if it gives none.
func (s statement) lineOf(position int32) int {
	line := s.line
	for i, c := range []rune(s.text) {
		if i+1 >= int(position) {
			break
		}
		if c == '\n' {
			line++
		}
	}
	return line
}

// lexer goes through a script. Mirrors psqlscan.l, as far as the ends of statements
// need it.
type lexer struct {
	script string
	at     int
}

// statement goes behind the next statement, and returns where that ends.
func (l *lexer) statement() (end int) {
	parentheses, bodies := 0, 0
	var words []string // the first, and the one before
	for l.at < len(l.script) {
		switch c := l.script[l.at]; {
		case c == ';' && parentheses == 0 && bodies == 0:
			l.at++
			return l.at - 1
		case isWordStart(c):
			word := l.wordOrString()
			if parentheses == 0 {
				bodies += bodyDepth(words, word, bodies)
			}
			words = append(words, word)
		case l.quoted(), l.comment():
		default:
			parentheses = max(0, parentheses+depthOf(c))
			l.at++
		}
	}
	return l.at
}

// depthOf is 1 for what opens parentheses, -1 for what closes them.
func depthOf(c byte) int {
	switch c {
	case '(':
		return 1
	case ')':
		return -1
	}
	return 0
}

// bodyDepth returns by how much a word deepens the body of an SQL function: BEGIN
// ATOMIC begins one, and END ends it, or a CASE within.
func bodyDepth(before []string, word string, depth int) int {
	inRoutine := createsRoutine(before)
	switch {
	case inRoutine && depth == 0 && word == "ATOMIC" && before[len(before)-1] == "BEGIN", depth > 0 && word == "CASE":
		return 1
	case depth > 0 && word == "END":
		return -1
	}
	return 0
}

// createsRoutine reports whether a statement that begins with these words has a body.
func createsRoutine(words []string) bool {
	if len(words) < 2 || words[0] != "CREATE" {
		return false
	}
	what := words[1]
	if what == "OR" && len(words) > 3 {
		what = words[3]
	}
	return what == "FUNCTION" || what == "PROCEDURE"
}

// skipBlank goes to the next word.
func (l *lexer) skipBlank() {
	for l.at < len(l.script) {
		if strings.IndexByte(" \t\r\n\f\v", l.script[l.at]) >= 0 {
			l.at++
		} else if !l.comment() {
			return
		}
	}
}

// comment goes behind a comment, if one begins here.
func (l *lexer) comment() bool {
	rest := l.script[l.at:]
	switch {
	case strings.HasPrefix(rest, "--"):
		l.at += lengthTo(rest, "\n")
		return true
	case !strings.HasPrefix(rest, "/*"):
		return false
	}
	depth := 0
	for l.at < len(l.script) {
		switch rest = l.script[l.at:]; {
		case strings.HasPrefix(rest, "/*"):
			depth++
			l.at += 2
		case strings.HasPrefix(rest, "*/"):
			depth--
			l.at += 2
		default:
			l.at++
		}
		if depth == 0 {
			return true
		}
	}
	return true
}

// quoted goes behind what is quoted, if that begins here.
func (l *lexer) quoted() bool {
	rest := l.script[l.at:]
	switch rest[0] {
	case '\'', '"':
		l.at += 1 + lengthTo(rest[1:], rest[:1]) // a doubled one is two texts
		return true
	case '$':
		n := strings.IndexByte(rest[1:], '$')
		if n < 0 || !isTag(rest[1:1+n]) {
			return false
		}
		delimiter := rest[:n+2]
		l.at += len(delimiter) + lengthTo(rest[len(delimiter):], delimiter)
		return true
	}
	return false
}

// wordOrString returns the next word, in capitals, or goes behind a text with
// escapes (E”).
func (l *lexer) wordOrString() string {
	word := strings.ToUpper(l.word())
	if word != "E" || l.at == len(l.script) || l.script[l.at] != '\'' {
		return word
	}
	for more := true; more; more = l.continued() {
		for l.at++; l.at < len(l.script) && l.script[l.at] != '\''; l.at++ {
			if l.script[l.at] == '\\' {
				l.at++
			}
		}
		l.at = min(l.at+1, len(l.script))
	}
	return ""
}

// continued goes to the next part of a text, where that is: at once, which stands
// for a quote, or on another line, with nothing but comments between.
func (l *lexer) continued() bool {
	next := *l
	next.skipBlank()
	gap := l.script[l.at:next.at]
	if strings.Contains(gap, "/*") || gap != "" && !strings.Contains(gap, "\n") || !strings.HasPrefix(l.script[next.at:], "'") {
		return false
	}
	*l = next
	return true
}

// word goes behind the word that begins here, and returns it.
func (l *lexer) word() string {
	start := l.at
	for l.at < len(l.script) && (isWordStart(l.script[l.at]) || l.at > start && isWordPart(l.script[l.at])) {
		l.at++
	}
	return l.script[start:l.at]
}

// lengthTo returns how long a text is up to the end of a mark, or all of it.
func lengthTo(text, mark string) int {
	if n := strings.Index(text, mark); n >= 0 {
		return n + len(mark)
	}
	return len(text)
}

func isTag(tag string) bool {
	for i := range len(tag) {
		if !isWordStart(tag[i]) && (i == 0 || tag[i] < '0' || tag[i] > '9') {
			return false
		}
	}
	return true
}

func isWordStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= utf8.RuneSelf
}

func isWordPart(c byte) bool { return isWordStart(c) || c >= '0' && c <= '9' || c == '$' }
