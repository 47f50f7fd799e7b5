package limits

import "strings"

// scanner splits a value of library_limits into words.
type scanner struct {
	rest     string
	more     bool // the entry that was read last ended with a semicolon
	unclosed bool // a quote was not closed
}

// word is one of them, without its quotes.
type word struct {
	text   string
	plain  int  // how many bytes of it come before the first quote
	quoted bool // there were quotes
}

func (w word) empty() bool { return w.text == "" && !w.quoted }

const blanks = " \t\n\v\f\r"

// word reads up to a blank, one of the delimiters or the end, and returns what
// delimiter comes next, which it takes, or 0 at the end, or a blank. Delimiters
// and blanks in double quotes are text; two quotes are one.
func (s *scanner) word(delimiters string) (w word, next byte) {
	s.rest = strings.TrimLeft(s.rest, blanks)
	var text strings.Builder
	inQuotes := false
	i := 0
	for ; i < len(s.rest); i++ {
		c := s.rest[i]
		switch {
		case c == '"' && inQuotes && strings.HasPrefix(s.rest[i+1:], `"`):
			text.WriteByte('"')
			i++
		case c == '"':
			if inQuotes = !inQuotes; !w.quoted {
				w.quoted, w.plain = true, text.Len()
			}
		case !inQuotes && strings.IndexByte(blanks+delimiters, c) >= 0:
			return s.end(w, text.String(), i, delimiters)
		default:
			text.WriteByte(c)
		}
	}
	s.unclosed = inQuotes
	return s.end(w, text.String(), i, delimiters)
}

// end takes a word of n bytes off, and the delimiter that follows it.
func (s *scanner) end(w word, text string, n int, delimiters string) (word, byte) {
	w.text = text
	if !w.quoted {
		w.plain = len(text)
	}
	s.rest = strings.TrimLeft(s.rest[n:], blanks)
	if s.rest == "" {
		return w, 0
	}
	if strings.IndexByte(delimiters, s.rest[0]) >= 0 {
		next := s.rest[0]
		s.rest = s.rest[1:]
		return w, next
	}
	return w, ' '
}
