package scaffold_test

import (
	"bytes"
	"context"
	"errors"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/scaffold"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

const checkout = "../.."

// write writes a module into a directory of its own, with no network and no "go
// mod tidy", which a checkout makes needless.
func write(t *testing.T, o scaffold.Options) (dir string) {
	t.Helper()
	withoutTidy(t)
	t.Setenv("GOPROXY", "off")
	parent := t.TempDir()
	incomplete, err := scaffold.Write(t.Context(), parent, o)
	if err != nil || incomplete != nil {
		t.Fatalf("%v, %v", err, incomplete)
	}
	return filepath.Join(parent, o.Name)
}

// withoutTidy has a go command found that refuses to change go.mod.
func withoutTidy(t *testing.T) {
	t.Helper()
	command, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := "#!/bin/sh\n[ \"$1\" != mod ] || exit 1\nexec '" + command + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func expectEmpty(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

// modulesOf returns the modules that the packages of a directory need, tests
// included.
func modulesOf(t *testing.T, dir string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-mod=readonly", "-deps", "-test", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", ".")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	modules := strings.Fields(string(out))
	slices.Sort(modules)
	return slices.Compact(modules)
}

func TestTheModuleRequiresWhatItNeedsAndNothingElse(t *testing.T) {
	dir := write(t, scaffold.Options{Name: "mine", Replace: checkout})
	var required []string
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+`).FindAllSubmatch(read(t, dir, "go.mod"), -1) {
		required = append(required, string(m[1]))
	}
	slices.Sort(required)
	if needed := modulesOf(t, dir); !slices.Equal(required, needed) {
		t.Errorf("it requires %v, and needs %v", required, needed)
	}
}

func TestTheModuleHasTheLanguageOfThisOne(t *testing.T) {
	line := regexp.MustCompile(`(?m)^go \S+$`)
	dir := write(t, scaffold.Options{Name: "mine", Replace: checkout})
	if got, own := line.Find(read(t, dir, "go.mod")), line.Find(read(t, checkout, "go.mod")); !bytes.Equal(got, own) {
		t.Errorf("%s, and here %s", got, own)
	}
}

func TestTheCodeIsFormattedWhateverTheName(t *testing.T) {
	for _, name := range []string{"a", "m2", "a_rather_long_name_for_a_library_of_that_size"} {
		dir := write(t, scaffold.Options{Name: name, Replace: checkout})
		for _, file := range []string{"main.go", "main_test.go"} {
			code := read(t, dir, file)
			formatted, err := format.Source(code)
			if err != nil || !bytes.Equal(code, formatted) {
				t.Errorf("%s of %s is not as gofmt would have it: %v", file, name, err)
			}
			if !bytes.Contains(code, []byte(name+"_main")) || bytes.Contains(code, []byte("<no value>")) {
				t.Errorf("%s of %s does not speak of it", file, name)
			}
		}
	}
}

func TestTheModulesPathCanBeChosen(t *testing.T) {
	for want, o := range map[string]scaffold.Options{
		"module example.com/mine\n":     {Name: "mine", Replace: checkout},
		"module github.com/me/things\n": {Name: "mine", Module: "github.com/me/things", Replace: checkout},
	} {
		if text := read(t, write(t, o), "go.mod"); !bytes.HasPrefix(text, []byte(want)) {
			t.Errorf("go.mod does not begin with %q:\n%s", want, text)
		}
	}
}

func TestACheckoutMayHaveAnAwkwardPath(t *testing.T) {
	abs, err := filepath.Abs(checkout)
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "a (good) place, isn't it")
	if err := os.Symlink(abs, link); err != nil {
		t.Fatal(err)
	}
	if needed := modulesOf(t, write(t, scaffold.Options{Name: "mine", Replace: link})); !slices.Contains(needed, handshake.Module) {
		t.Errorf("it needs %v", needed)
	}
}

// Without a checkout and a network there are no checksums, which is said; all
// else is there.
func TestWithoutANetworkTheModuleLacksChecksumsOnly(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOMODCACHE", t.TempDir())
	parent := t.TempDir()
	incomplete, err := scaffold.Write(t.Context(), parent, scaffold.Options{Name: "mine"})
	if err != nil || incomplete == nil || incomplete.Level != elog.Warning || !strings.Contains(incomplete.Detail, "GOPROXY=off") {
		t.Fatalf("%v, %+v", err, incomplete)
	}
	read(t, parent, "mine", "main.go")
	if !strings.Contains(string(read(t, parent, "mine", "go.mod")), "\t"+handshake.Module+" v") {
		t.Error("go.mod does not require this module")
	}
}

func TestWithoutAGoCommandItSaysSo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	incomplete, err := scaffold.Write(t.Context(), t.TempDir(), scaffold.Options{Name: "mine", Replace: checkout})
	if err != nil || incomplete == nil || !strings.HasPrefix(incomplete.Hint, "Install Go") {
		t.Fatalf("%v, %+v", err, incomplete)
	}
}

func TestARefusedModuleLeavesNothing(t *testing.T) {
	elsewhere := t.TempDir()
	if err := os.WriteFile(filepath.Join(elsewhere, "go.mod"), []byte("module example.com/other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := "mine"
	for name, tt := range map[string]struct {
		o    scaffold.Options
		code elog.SQLState
		says string
	}{
		"no name":               {scaffold.Options{}, elog.InvalidName, `invalid library name: ""`},
		"a path":                {scaffold.Options{Name: "a/b"}, elog.InvalidName, `invalid library name: "a/b"`},
		"a way out":             {scaffold.Options{Name: ".."}, elog.InvalidName, `invalid library name: ".."`},
		"an option":             {scaffold.Options{Name: "-x"}, elog.InvalidName, `invalid library name: "-x"`},
		"capitals":              {scaffold.Options{Name: "Mine"}, elog.InvalidName, `invalid library name: "Mine"`},
		"a digit first":         {scaffold.Options{Name: "1st"}, elog.InvalidName, `invalid library name: "1st"`},
		"two lines":             {scaffold.Options{Name: "a\nb"}, elog.InvalidName, `invalid library name:`},
		"a long one":            {scaffold.Options{Name: strings.Repeat("x", 49)}, elog.InvalidName, `is too long`},
		"the internal one":      {scaffold.Options{Name: "postgres"}, elog.InvalidName, `library name "postgres" is reserved`},
		"one of the host's":     {scaffold.Options{Name: good, Taken: []string{"mine"}}, elog.InvalidName, `library name "mine" is taken`},
		"a bad module":          {scaffold.Options{Name: good, Module: "a//b"}, elog.InvalidName, `invalid module path: "a//b"`},
		"the host's own module": {scaffold.Options{Name: good, Module: handshake.Module}, elog.InvalidName, `module path "` + handshake.Module + `" is taken`},
		"no checkout":           {scaffold.Options{Name: good, Replace: "/nonexistent"}, elog.UndefinedFile, `could not read the module in directory "/nonexistent": No such file or directory`},
		"a checkout of another": {scaffold.Options{Name: good, Replace: elsewhere}, elog.WrongObjectType, `has another module in it`},
	} {
		parent := t.TempDir()
		_, err := scaffold.Write(t.Context(), parent, tt.o)
		if elog.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v (%s)", name, err, elog.CodeOf(err))
		}
		expectEmpty(t, parent)
	}
}

func TestWhatIsThereIsNotTouched(t *testing.T) {
	parent := t.TempDir()
	mine := filepath.Join(parent, "mine")
	if err := os.Mkdir(mine, 0o700); err != nil { // even if it is empty
		t.Fatal(err)
	}
	_, err := scaffold.Write(t.Context(), parent, scaffold.Options{Name: "mine", Replace: checkout})
	if elog.CodeOf(err) != elog.DuplicateFile {
		t.Errorf("%v", err)
	}
	expectEmpty(t, mine)
}

func TestAnInterruptionLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	parent := t.TempDir()
	if _, err := scaffold.Write(ctx, parent, scaffold.Options{Name: "mine", Replace: checkout}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	expectEmpty(t, parent)
}

func TestADirectoryThatCannotBeMadeIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := scaffold.Write(t.Context(), file, scaffold.Options{Name: "mine", Replace: checkout})
	if err == nil || !strings.HasPrefix(err.Error(), `could not create directory "`+file+`/mine": Not a directory`) {
		t.Errorf("%v", err)
	}
}
