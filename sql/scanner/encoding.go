package scanner

import (
	"strings"
	"unicode/utf8"
)

// width is how the server tells characters apart: the length in bytes of one that
// begins with these. Mirrors pg_encoding_mblen.
type width func(rest string) int

// count returns how many characters a text has. Mirrors pg_mbstrlen_with_len.
func (w width) count(text string) int {
	if w == nil {
		return len(text)
	}
	n := 0
	for text != "" {
		text = text[min(w(text), len(text)):]
		n++
	}
	return n
}

// widthOf returns nil for encodings of one byte a character. Positions are counted
// after the conversion to the server's encoding, which keeps the number of
// characters; SQL_ASCII is never converted, so the other side's bytes are as they are.
func widthOf(o Options) width {
	client, server := canonical(o.ClientEncoding), canonical(o.ServerEncoding)
	if server == "sqlascii" || client == "sqlascii" && server != "" {
		client = server
	}
	switch client {
	case "utf8", "unicode":
		return utf8Width
	case "eucjp", "eucjis2004", "euckr":
		return eucWidth(2)
	case "euccn":
		return eucWidth(3)
	case "euctw":
		return eucWidth(4)
	case "muleinternal":
		return muleWidth
	}
	return nil
}

// embedsASCII reports whether characters of a client encoding can contain bytes
// that are ASCII characters by themselves. PostgreSQL allows these for clients only.
func embedsASCII(encoding string) bool {
	switch canonical(encoding) {
	case "big5", "win950", "windows950", "gb18030", "gbk", "win936", "windows936", "johab",
		"sjis", "shiftjis", "mskanji", "win932", "windows932", "shiftjis2004", "uhc", "win949", "windows949":
		return true
	}
	return false
}

// isUTF8 reports whether an encoding is UTF-8.
func isUTF8(encoding string) bool {
	c := canonical(encoding)
	return c == "utf8" || c == "unicode"
}

// canonical returns the name of an encoding without what is not significant in it.
// Mirrors clean_encoding_name.
func canonical(encoding string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, encoding)
}

func utf8Width(rest string) int {
	switch c := rest[0]; {
	case c < utf8.RuneSelf:
		return 1
	case c&0xe0 == 0xc0:
		return 2
	case c&0xf0 == 0xe0:
		return 3
	case c&0xf8 == 0xf0:
		return 4
	}
	return 1
}

// eucWidth is that of the Extended Unix Codes, which differ in what follows the
// byte that shifts to the second set.
func eucWidth(second int) width {
	return func(rest string) int {
		switch c := rest[0]; {
		case c == 0x8e:
			return second
		case c == 0x8f:
			return 3
		case c >= utf8.RuneSelf:
			return 2
		}
		return 1
	}
}

func muleWidth(rest string) int {
	switch c := rest[0]; {
	case c >= 0x81 && c <= 0x8d: // LC1
		return 2
	case c >= 0x9a && c <= 0x9b, c >= 0x90 && c <= 0x99: // LCPRV1, LC2
		return 3
	case c >= 0x9c && c <= 0x9d: // LCPRV2
		return 4
	}
	return 1
}
