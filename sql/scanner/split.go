package scanner

import "strings"

// statement goes behind the next statement that is not empty, and says where it is
// and whether a word in it is a name of ours. A semicolon within parentheses or
// within the body of an SQL function ends none.
func (l *lexer) statement() (s Statement, mentions, found bool) {
	var r routine
	for depth := 0; ; {
		t := l.next()
		sign := ""
		if t.kind == symbol {
			sign = l.sql[t.start:t.end]
		}
		ends := t.kind == endOfText || sign == ";" && depth == 0 && !r.inBody
		if ends && found {
			s.Unterminated = t.kind == endOfText && (depth > 0 || r.inBody)
			return s, mentions, true
		}
		if ends && t.kind == endOfText {
			return s, mentions, false
		}
		if ends {
			continue
		}
		if !found {
			s.Start, found = t.start, true
		}
		s.End = t.end
		if t.kind == word && !mentions {
			_, mentions = redirectionOf(l.sql[t.start:t.end])
		}
		switch {
		case t.kind == broken:
			s.Unterminated = true
			return s, mentions, true
		case sign == "(":
			depth++
		case sign == ")":
			depth = max(0, depth-1)
		case depth == 0:
			r.follow(l.sql[t.start:t.end], t.kind)
		}
	}
}

// routine follows the words of CREATE [OR REPLACE] {FUNCTION|PROCEDURE} as far as
// BEGIN ATOMIC … END. The grammar takes statements between these two, each with its
// semicolon, so that END is the body's where a statement would begin: it can't be
// COMMIT there, and what ends a CASE does not follow on a semicolon.
type routine struct {
	words   int // how many of the statement's first words have been as they must be
	creates bool
	other   bool // it is another statement
	before  bodyWord
	inBody  bool
}

// bodyWord is the token before, as far as it matters.
type bodyWord uint8

const (
	anyWord bodyWord = iota
	begin
	separator // ATOMIC or a semicolon
)

// follow takes the next token that is not in parentheses.
func (r *routine) follow(raw string, k kind) {
	switch {
	case r.other:
	case !r.creates:
		r.creates = k == word && r.words == 1 && (strings.EqualFold(raw, "function") || strings.EqualFold(raw, "procedure"))
		r.other = !r.creates && !r.prefix(raw)
	default:
		r.body(raw, k)
	}
}

// prefix takes CREATE, OR and REPLACE: OR REPLACE brings words back to 1.
func (r *routine) prefix(raw string) bool {
	switch {
	case r.words == 0 && strings.EqualFold(raw, "create"), r.words == 2 && strings.EqualFold(raw, "replace"):
		r.words = 1
	case r.words == 1 && strings.EqualFold(raw, "or"):
		r.words = 2
	default:
		return false
	}
	return true
}

func (r *routine) body(raw string, k kind) {
	before := r.before
	r.before = anyWord
	switch {
	case k == symbol && raw == ";":
		r.before = separator
	case k != word:
	case r.inBody:
		r.inBody = before != separator || !strings.EqualFold(raw, "end")
	case strings.EqualFold(raw, "begin"):
		r.before = begin
	case before == begin && strings.EqualFold(raw, "atomic"):
		r.inBody = true
		r.before = separator
	}
}
