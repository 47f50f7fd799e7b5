package statement

import (
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/sql/scanner"
)

// FuzzQuote looks for a text that gets out of its quotes: within a statement, that of
// a block within another, the scanner has to find one statement to the end of it.
func FuzzQuote(f *testing.F) {
	for _, text := range []string{"", "a", "$", "$pgexthost", "$pgexthost$", "$pgexthost_$ '; $pgexthost__", "$pgexthos$pgexthost$", "\\", "'", "$$pgexthost_", "é$pgexthost"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		literal := quote(text)
		end := strings.IndexByte(literal[1:], '$') + 2
		tag := literal[:end]
		if !strings.HasSuffix(literal, tag) || literal[end:len(literal)-end] != text || strings.Contains(text, tag) {
			t.Fatalf("%q becomes %q", text, literal)
		}
		if strings.ContainsRune(text, 0) {
			return
		}
		statement := do("BEGIN PERFORM " + literal + "; END")
		found := scanner.Scan(statement+" ", scanner.Options{StandardConformingStrings: true, ClientEncoding: "UTF8"})
		if len(found) != 1 || found[0].Unterminated || found[0].End != len(statement) {
			t.Fatalf("%q becomes %q, which is %+v", text, statement, found)
		}
	})
}

// A tag is found in one pass, however much a text looks like tags.
func TestQuotingIsLinear(t *testing.T) {
	text := strings.Repeat("$pgexthost_", 1<<18)
	if literal := quote(text); !strings.HasPrefix(literal, "$pgexthost__$") || len(literal) != len(text)+2*len("$pgexthost__$") {
		t.Errorf("got %.40s…, %d bytes", literal, len(literal))
	}
}

func TestEscapedJSONIsASCII(t *testing.T) {
	if got := escaped(`"aä€😀"`); got != `"a\u00e4\u20ac\ud83d\ude00"` {
		t.Errorf("got %s", got)
	}
}
