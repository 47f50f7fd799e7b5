package plugins_test

import (
	"slices"
	"testing"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestSplitLibraries(t *testing.T) {
	for list, want := range map[string][]string{
		"":                      nil,
		"  ":                    nil,
		"a":                     {"a"},
		" a , b ":               {"a", "b"},
		"$libdir/a,/x/y z":      {"$libdir/a", "/x/y z"},
		`"a,b", "say ""hi""",c`: {"a,b", `say "hi"`, "c"},
	} {
		got, err := plugins.SplitLibraries(list, "p")
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v; want %q", list, got, err, want)
		}
	}
	for _, list := range []string{",", "a,", ",a", "a,,b", `"a`, `"a"b`, `""`, `"a",`} {
		_, err := plugins.SplitLibraries(list, "p")
		if elog.CodeOf(err) != elog.SyntaxError || err.Error() != `invalid list syntax in parameter "p"` {
			t.Errorf("%q: got %v", list, err)
		}
	}
}

func FuzzSplitLibraries(f *testing.F) {
	f.Add(`a,"b ""c""", d`)
	f.Fuzz(func(t *testing.T, list string) {
		names, err := plugins.SplitLibraries(list, "p")
		for _, name := range names {
			if err == nil && name == "" {
				t.Errorf("%q has an empty name", list)
			}
		}
	})
}
