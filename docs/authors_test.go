package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// tutorial is what AUTHORS.md has its reader do.
type tutorial struct {
	get   []string // the commands that get pgexthost
	steps []step
	code  []string // what it shows of the module's code
}

// readTutorial reads the first part of AUTHORS.md.
func readTutorial(t *testing.T) (all tutorial) {
	t.Helper()
	text, err := os.ReadFile("AUTHORS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begins := strings.Cut(string(text), "\n## Five minutes\n")
	part, _, ends := strings.Cut(rest, "\n## What to know\n")
	if !begins || !ends {
		t.Fatal("AUTHORS.md has other sections than before")
	}
	for section := range strings.SplitSeq(part, "\n### ") {
		for _, block := range regexp.MustCompile("(?s)```(console|go)\n(.*?)```").FindAllStringSubmatch(section, -1) {
			switch {
			case block[1] == "go":
				all.code = append(all.code, block[2])
			case strings.HasPrefix(section, "Get pgexthost\n"):
				all.get = append(all.get, strings.Split(strings.TrimSpace(block[2]), "\n")...)
			default:
				all.steps = append(all.steps, readSteps(t, block[2])...)
			}
		}
	}
	return all
}

// The commands of the tutorial, each typed as it stands there, lead from nothing to
// a worker that was tested, run, changed and reloaded.
func TestTheAuthorsTutorialWorksWordForWord(t *testing.T) {
	all := readTutorial(t)
	if len(all.steps) < 20 || len(all.code) < 4 {
		t.Fatalf("found %d commands and %d pieces of code only: has the form changed?", len(all.steps), len(all.code))
	}
	r := newAuthor(t)
	// What these do is done already: the clone is this one.
	if want := []string{"$ git clone https://github.com/pgexthost/pgexthost", "$ make -C pgexthost build", `$ export PATH="$PWD/pgexthost/bin:$PATH"`}; !slices.Equal(all.get, want) {
		t.Fatalf("the tutorial begins in another way: %q", all.get)
	}
	for i, s := range all.steps {
		r.follow(t, s)
		if i == 1 { // the module is there, and has not been changed yet
			r.compare(t, all.code)
		}
	}
}

// newAuthor returns a reader of the tutorial, who has got pgexthost already.
func newAuthor(t *testing.T) *reader {
	t.Helper()
	r := newReader(t, localpg.Options{})
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	buildPrograms(t, r.home)
	if err := os.Symlink(checkout, filepath.Join(r.home, "pgexthost")); err != nil {
		t.Fatal(err)
	}
	r.logFile = filepath.Join(r.home, "hello", "dev", "log")
	t.Cleanup(func() { // if the tutorial does not get so far
		_ = r.command(context.Background(), "cd "+r.home+"/hello && pgexthost stop -D dev -m immediate").Run()
	})
	return r
}

// buildPrograms puts pgexthost and worker_spi where make build puts them, below a
// directory.
func buildPrograms(t *testing.T, prefix string) {
	t.Helper()
	for to, what := range map[string]string{"bin/pgexthost": "../cmd/pgexthost", "lib/pgexthost/worker_spi": "../cmd/worker_spi"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(prefix, to), what)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

// compare compares what the tutorial shows of the code with what there is.
func (r *reader) compare(t *testing.T, shown []string) {
	t.Helper()
	var code string
	for _, file := range []string{"main.go", "main_test.go"} {
		text, err := os.ReadFile(filepath.Join(r.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		code += string(text)
	}
	for _, piece := range shown {
		if !strings.Contains(code, piece) {
			t.Errorf("plugin new writes no\n%s", piece)
		}
	}
}
