package shellwords_test

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/shellwords"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"":                                  nil,
		" \t\n ":                            nil,
		"a":                                 {"a"},
		"  a  b\tc\nd ":                     {"a", "b", "c", "d"},
		`''`:                                {""},
		`"" ''`:                             {"", ""},
		`a''b`:                              {"ab"},
		`-c log_min_messages=debug1`:        {"-c", "log_min_messages=debug1"},
		`-c 'log_line_prefix=%m %p '`:       {"-c", "log_line_prefix=%m %p "},
		`-c log_line_prefix="%m \"%p\" "`:   {"-c", `log_line_prefix=%m "%p" `},
		`a\ b \' \" \\`:                     {"a b", "'", `"`, `\`},
		`'a\b'`:                             {`a\b`},
		`"a\b \$ \` + "`" + `"`:             {"a\\b $ `"},
		"a\\\nb \\\n c \"d\\\ne\" 'f\\\ng'": {"ab", "c", "de", "f\\\ng"},
		"$HOME *.c ~ a;b|c #d":              {"$HOME", "*.c", "~", "a;b|c", "#d"},
		"ö 'ä ü'":                           {"ö", "ä ü"},
	} {
		got, err := shellwords.Split(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q", line, got, err, want)
		}
	}
}

func TestSplitRefusesWhatHasNoEnd(t *testing.T) {
	for line, want := range map[string]error{
		`'`:      shellwords.ErrUnterminatedQuote,
		`a"b c`:  shellwords.ErrUnterminatedQuote,
		`a "\"`:  shellwords.ErrUnterminatedQuote,
		`a "b\`:  shellwords.ErrUnterminatedQuote,
		`a\`:     shellwords.ErrTrailingBackslash,
		`"a" b\`: shellwords.ErrTrailingBackslash,
	} {
		if words, err := shellwords.Split(line); !errors.Is(err, want) {
			t.Errorf("%q: got %q, %v, want %v", line, words, err, want)
		}
	}
}

func TestQuoteLeavesPlainWordsAlone(t *testing.T) {
	got := shellwords.Quote("-D", "/var/lib/x_1", "a b", "it's", "", "$x")
	if want := `-D /var/lib/x_1 'a b' 'it'\''s' '' '$x'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzSplitReadsBackWhatQuoteWrites(f *testing.F) {
	f.Add("a b", "", "it's")
	f.Add("\\", "\n", "\"$`")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		want := []string{a, b, c}
		line := shellwords.Quote(want...)
		got, err := shellwords.Split(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q became %s, which became %q, %v", want, line, got, err)
		}
	})
}

// expanding are characters of which a shell makes more than Split does. A
// newline ends a command, unless it is quoted.
const expanding = "$`;&|<>()*?[]{}~#!\n\x00"

func FuzzSplitAsShellDoes(f *testing.F) {
	for _, line := range []string{
		"", " ", "a b", "a'b c'd", `"a b"c`, `a\ b`, `"\a\""`, `'\'`, `''`, `"" a`, `"`, `'`, `a"b`, `\"`, `\'a`, "\ta \xff\x81", `a=b "c`, `'ö'\ü`,
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, expanding) {
			t.Skip()
		}
		got, err := shellwords.Split(line)
		if errors.Is(err, shellwords.ErrTrailingBackslash) {
			t.Skip()
		}
		want, ok := shellSplit(t, line)
		if ok != (err == nil) || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v; sh says %q, %v", line, got, err, want, ok)
		}
	})
}

func TestAShellReadsBackWhatQuoteWrites(t *testing.T) {
	want := []string{"", " ", "a", "it's", "$HOME", "`id`", "a\nb", `\`, `"`, "*", "~", "a;b", "ö\xff", "-n", "#"}
	line := shellwords.Quote(want...)
	if got, ok := shellSplit(t, line); !ok || !slices.Equal(got, want) {
		t.Errorf("%s became %q, want %q", line, got, want)
	}
}

// shellSplit has sh split the line, or reports false if it refuses to.
func shellSplit(t *testing.T, line string) (words []string, ok bool) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `eval "set -- $1" && for w do printf '%s\0' "$w"; done`, "sh", line)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}
	out, err := cmd.Output()
	if err != nil {
		if _, refused := errors.AsType[*exec.ExitError](err); !refused {
			t.Fatal(err)
		}
		return nil, false
	}
	if len(out) == 0 {
		return nil, true
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), true
}
