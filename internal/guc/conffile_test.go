package guc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
)

// shown shows the items of a Config as "name=value@line".
func shown(c guc.Config) []string {
	var all []string
	for _, it := range c.Items {
		all = append(all, fmt.Sprintf("%s=%s@%d", it.Name, it.Value, it.Line))
	}
	return all
}

// Reading a pipe could block the host for ever.
func TestPipesAreNoConfigurationFiles(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if c := guc.ParseFile(fifo); c.BadFile != fifo || len(c.Reports) != 1 {
		t.Errorf("got %+v", c)
	}
	if c := guc.ParseFile(os.DevNull); c.BadFile != "" {
		t.Errorf("the null device: got %+v", c)
	}
}

func TestFileSyntax(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"# only\n\n  # comments", nil},
		{"a = 1", []string{"a=1@1"}},
		{"a 1\nb=2\n\tc\t=\t3 # c\r\n", []string{"a=1@1", "b=2@2", "c=3@3"}},
		{"a=1\na=2", []string{"a=1@1", "a=2@2"}},
		{"a = on#c", []string{"a=on@1"}},
		{"a = 10min", []string{"a=10min@1"}},
		{"a = -0x1FkB", []string{"a=-0x1FkB@1"}},
		{"a = 1.5e-3", []string{"a=1.5e-3@1"}},
		{"a = .", []string{"a=.@1"}},
		{"a = x/y:z-1.conf", []string{"a=x/y:z-1.conf@1"}},
		{"a.b = 'x'", []string{"a.b=x@1"}},
		{"é = ''", []string{"é=@1"}},
		{"a = 'it''s'", []string{"a=it's@1"}},
		{`a = 'it\'s\\ \b\f\n\r\t\x'`, []string{"a=it's\\ \b\f\n\r\tx@1"}},
		{`a = '\101\7\0601\777'`, []string{"a=A\a01\xff@1"}},
		{`a = 'b\0c'`, []string{"a=b@1"}},
		{"a = 'b\x00c'", []string{"a=b@1"}},
		{"a = 'b # c' # d", []string{"a=b # c@1"}},
	} {
		c := conf(tt.text)
		wantReports(t, c.Reports)
		if got := shown(c); !slices.Equal(got, tt.want) || c.BadFile != "" {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestSyntaxErrorsNameFileLineAndToken(t *testing.T) {
	near := func(line int, token string) string {
		return fmt.Sprintf(`LOG 42601: syntax error in file "h.conf" line %d, near token "%s"`, line, token)
	}
	endOf := func(line int) string {
		return fmt.Sprintf(`LOG 42601: syntax error in file "h.conf" line %d, near end of line`, line)
	}
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"a", []string{endOf(1)}},
		{"\na =\n", []string{endOf(2)}},
		{"a = 1 2", []string{near(1, "2")}},
		{"a == 1", []string{near(1, "=")}},
		{"1 = 1\n'a' = 2\n= 3\na-b = 4", []string{near(1, "1"), near(2, "'a'"), near(3, "="), near(4, "a-b")}},
		{"a.b.c = 1", []string{near(1, "a.b.c")}},
		{"a = b.c", []string{near(1, "b.c")}},
		{"a = 1.5min", []string{near(1, "min")}},
		{"a = 1e5", []string{near(1, "5")}},
		{"a = 'open", []string{near(1, "'")}},
		{"a = 'b''", []string{near(1, "'")}},
		{"a = 'b\\\nc'", []string{near(1, "'"), near(2, "'")}},
		{"a = -", []string{near(1, "-")}},
		{"a = $1\nb = 1\x00", []string{near(1, "$"), near(2, "")}},
	} {
		c := conf(tt.text)
		wantReports(t, c.Reports, tt.want...)
		if c.BadFile != "h.conf" {
			t.Errorf("%q: the bad file is %q", tt.text, c.BadFile)
		}
	}
}

func TestALineWithAnErrorDoesNotHideTheOthers(t *testing.T) {
	if got := shown(conf("a = 1\nb = = 2 3\nc = 3")); !slices.Equal(got, []string{"a=1@1", "c=3@3"}) {
		t.Errorf("got %q", got)
	}
}

func TestAFileIsAbandonedAfter100SyntaxErrors(t *testing.T) {
	c := conf(strings.Repeat("?\n", 500) + "a = 1")
	if len(c.Reports) != 101 || len(c.Items) != 0 {
		t.Fatalf("got %d reports and %d items", len(c.Reports), len(c.Items))
	}
	wantReports(t, c.Reports[100:], `LOG 54000: too many syntax errors found, abandoning file "h.conf"`)
}

func TestIncludesAreReadInPlaceAndRelativeToTheIncludingFile(t *testing.T) {
	dir := t.TempDir()
	path := writeFile(t, dir, "main.conf", "a = 1\nINCLUDE 'sub/one.conf'\ninclude_dir = 'd'\ninclude_if_exists 'none.conf'\nz = 26")
	writeFile(t, dir, "sub/one.conf", "b = 2\ninclude 'two.conf'")
	writeFile(t, dir, "sub/two.conf", "\nc = 3")
	writeFile(t, dir, "d/20.conf", "e = 5")
	writeFile(t, dir, "d/10.conf", "d = 4")
	for _, ignored := range []string{"d/.hidden.conf", "d/x.conf~", "d/.conf", "d/sub.conf/x.conf"} {
		writeFile(t, dir, ignored, "?")
	}
	c := guc.ParseFile(path)
	wantReports(t, c.Reports, `LOG 00000: skipping missing configuration file "`+dir+`/none.conf"`)
	if got := shown(c); !slices.Equal(got, []string{"a=1@1", "b=2@1", "c=3@2", "d=4@1", "e=5@1", "z=26@5"}) {
		t.Errorf("got %q", got)
	}
	if got := c.Items[2].File; got != filepath.Join(dir, "sub/two.conf") {
		t.Errorf("got file %s", got)
	}
}

func TestFurtherFilesComeLastAndMayBeMissing(t *testing.T) {
	dir := t.TempDir()
	path := writeFile(t, dir, "main.conf", "a = 1")
	auto := writeFile(t, dir, "auto.conf", "a = 2\n?")
	c := guc.ParseFile(path, filepath.Join(dir, "none.conf"), auto)
	if got := shown(c); !slices.Equal(got, []string{"a=1@1", "a=2@1"}) || c.BadFile != auto || c.File != path {
		t.Errorf("got %q, bad file %s, file %s", got, c.BadFile, c.File)
	}
	wantReports(t, c.Reports, `LOG 42601: syntax error in file "`+auto+`" line 2, near token "?"`)
}

func TestIncludeErrors(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "loop.conf", "include 'main.conf'")
	for text, want := range map[string]string{
		"include 'none.conf'":        `LOG 58P01: could not open configuration file "DIR/none.conf": No such file or directory`,
		"include '/dev/null/x'":      `LOG 42809: could not open configuration file "/dev/null/x": Not a directory`,
		"include_if_exists '.'":      `LOG 42809: could not open configuration file "DIR": Is a directory`,
		"include_dir 'none'":         `LOG 58P01: could not open configuration directory "DIR/none": No such file or directory`,
		"include ' '":                `LOG 22023: empty configuration file name: " "`,
		"include_dir ''":             `LOG 22023: empty configuration directory name: ""`,
		"include './x/../main.conf'": `LOG 22023: configuration file recursion in "DIR/main.conf"`,
		"include 'loop.conf'":        `LOG 54000: could not open configuration file "loop.conf": maximum nesting depth exceeded`,
	} {
		path := writeFile(t, dir, "main.conf", text)
		c := guc.ParseFile(path)
		if want := strings.ReplaceAll(want+` | CONTEXT: line 1 of configuration file "DIR/main.conf"`, "DIR", dir); c.BadFile != path || len(c.Reports) != 1 || render(c.Reports[0]) != want {
			t.Errorf("%s: bad file %q", text, c.BadFile)
			wantReports(t, c.Reports, want)
		}
	}
}

func TestAMissingMainFileIsAnError(t *testing.T) {
	c := guc.ParseFile("/nonexistent/h.conf")
	wantReports(t, c.Reports, `LOG 58P01: could not open configuration file "/nonexistent/h.conf": No such file or directory`)
	if c.BadFile != "/nonexistent/h.conf" {
		t.Errorf("got %q", c.BadFile)
	}
}

func TestAnIncludeOfWhatIsNotConfigurationIsOneError(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "d/a.conf", "a = 1")
	if err := os.Symlink("/nonexistent", filepath.Join(dir, "d/b.conf")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "d/c.conf", "c = 3")
	c := guc.ParseFile(writeFile(t, dir, "main.conf", "include_dir 'd'"))
	wantReports(t, c.Reports, `LOG 58P01: could not stat file "`+dir+`/d/b.conf": No such file or directory | CONTEXT: line 1 of configuration file "`+dir+`/main.conf"`)
	if got := shown(c); !slices.Equal(got, []string{"a=1@1", "c=3@1"}) {
		t.Errorf("got %q", got)
	}
}

func TestDoublingIncludesEnd(t *testing.T) {
	dir := t.TempDir()
	for i := range 10 {
		next := fmt.Sprintf("include '%d.conf'\n", i+1)
		writeFile(t, dir, fmt.Sprintf("%d.conf", i), strings.Repeat(next, 10))
	}
	writeFile(t, dir, "10.conf", "a = 1")
	c := guc.ParseFile(filepath.Join(dir, "0.conf"))
	if len(c.Reports) != 1 || !strings.Contains(c.Reports[0].Message, "more than 1000 files are included") {
		wantReports(t, c.Reports, "one about too many files")
	}
}

func TestParseOption(t *testing.T) {
	for arg, want := range map[string]guc.Item{
		"a=1":              {Name: "a", Value: "1", Source: guc.SourceCommandLine},
		"max-worker-x=a-b": {Name: "max_worker_x", Value: "a-b", Source: guc.SourceCommandLine},
		"x.y==":            {Name: "x.y", Value: "=", Source: guc.SourceCommandLine},
		"cluster_name=":    {Name: "cluster_name", Source: guc.SourceCommandLine},
	} {
		if got, err := guc.ParseOption(arg); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", arg, got, err)
		}
	}
	_, err := guc.ParseOption("a-b")
	wantError(t, err, "FATAL 42601: -c a-b requires a value")
}
