package docs

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// Each command of README.md, typed as it stands there and in this order into a fresh
// copy, does and prints what README.md says: the demo, a host beside a server, a
// worker of one's own, requests from SQL, a psql that goes through the gateway.
func TestTheReadmesCommandsWorkWordForWord(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	r := newUser(t)
	followed, statements := 0, 0
	for _, block := range consoleBlocks(string(text)) {
		for _, s := range readSteps(t, block) {
			if s.command == "make demo" {
				r.watchTheDemo(t, s)
			} else {
				r.follow(t, s)
			}
			followed++
			statements += len(s.typed)
		}
	}
	if followed < 15 || statements < 7 {
		t.Fatalf("found %d commands and %d statements only: has the form changed?", followed, statements)
	}
	if out, err := r.run(t.Context(), "bin/pgexthost stop -D mydir"); err != nil {
		t.Errorf("%s%v\n%s", out, err, r.log())
	}
	if text := r.log(); strings.Contains(text, " ERROR: ") || strings.Contains(text, " PANIC: ") {
		t.Error(text)
	}
}

// The same psql as a page about the gateway shows it.
func TestTheGatewaysSessionIsAsItsPageShowsIt(t *testing.T) {
	text, err := os.ReadFile("GATEWAY.md")
	if err != nil {
		t.Fatal(err)
	}
	r := newUser(t)
	for _, command := range []string{"make build", "bin/pgexthost init -D mydir", "bin/pgexthost start -D mydir -l mydir.log"} {
		r.follow(t, step{command: command, interrupt: -1})
	}
	blocks := consoleBlocks(string(text))
	if len(blocks) != 1 {
		t.Fatalf("%d blocks: has the form changed?", len(blocks))
	}
	for _, s := range readSteps(t, blocks[0]) {
		r.follow(t, s)
	}
}

// What the operator's guide has curl ask, of a host that cannot reach its server.
func TestTheOperatorsCurlIsAnsweredAsTheGuideShowsIt(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl")
	}
	text, err := os.ReadFile("OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(text), "\n## Metrics and health\n")
	blocks := consoleBlocks(part)
	if !found || len(blocks) == 0 || !strings.HasPrefix(blocks[0], "$ curl ") {
		t.Fatal("OPERATING.md has other sections than before")
	}
	r := newUser(t)
	for _, command := range []string{"make build", "bin/pgexthost init -D mydir --server host=" + r.home, "bin/pgexthost start -D mydir -l mydir.log"} {
		r.follow(t, step{command: command, interrupt: -1})
	}
	// The guide's server is in another directory, in which there may be one here.
	block := strings.ReplaceAll(blocks[0], "/var/run/postgresql/", "/home/me/")
	for _, s := range readSteps(t, block) {
		if strings.HasSuffix(s.command, "/metrics") {
			s.output = append(s.output, "pgexthost_up 1")
		}
		r.follow(t, s)
	}
}

// newUser returns somebody who has got a copy of pgexthost and has a server on
// this machine, on which they are a superuser, with a database "app".
func newUser(t *testing.T) *reader {
	t.Helper()
	r := newReader(t, localpg.Options{TCP: true})
	for _, statement := range []string{"CREATE ROLE me LOGIN SUPERUSER", "CREATE DATABASE app"} {
		if out, err := r.run(t.Context(), `psql -q postgres -c "`+statement+`"`); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	// What go keeps in the home directory it finds elsewhere: nothing is downloaded.
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		r.env = append(r.env, name+"="+strings.TrimSpace(string(value)))
	}
	r.env = append(r.env, "HOME="+r.home, "PGHOST=localhost", "PGUSER=me", "PGPASSFILE=/nonexistent")
	r.dir = filepath.Join(r.home, "pgexthost")
	copyTheTree(t, r.dir)
	r.logFile = filepath.Join(r.dir, "mydir.log")
	t.Cleanup(func() { // if it comes to that
		_ = r.command(context.Background(), "cd "+r.home+"/pgexthost && bin/pgexthost stop -D mydir -m immediate").Run()
	})
	return r
}

// copyTheTree copies what a clone has, and not what was built.
func copyTheTree(t *testing.T, to string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		target := filepath.Join(to, strings.TrimPrefix(path, ".."))
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", ".tools", "bin", "lib"}, filepath.Base(path)) && filepath.Dir(path) == "..":
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(target, 0o755)
		case !entry.Type().IsRegular():
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// whatVaries matches what differs from machine to machine in the demo's output:
// versions, systems, directories.
var whatVaries = regexp.MustCompile(`PostgreSQL [0-9.]+( \(Debian [^)]*\))?( in \S+( \([^)]*\))?)?|go[0-9.]+|linux/[a-z0-9]+|[^" ]*/pgexthost-pg-[0-9]+`)

// watchTheDemo runs the demo, whose processes speak in no certain order.
func (r *reader) watchTheDemo(t *testing.T, s step) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	printed, err := r.run(ctx, s.command)
	if err != nil {
		t.Fatalf("%s%v", printed, err)
	}
	rest := whatVaries.ReplaceAll([]byte(printed), []byte("…"))
	for _, line := range s.output {
		at := patternOf(whatVaries.ReplaceAllString(line, "…")).FindIndex(rest)
		if at == nil {
			t.Errorf("the demo does not print\n%s", line)
			continue
		}
		rest = slices.Delete(rest, at[0], at[1])
	}
	if rest = bytes.TrimSpace(rest); t.Failed() || len(rest) > 0 {
		t.Fatalf("README.md does not show\n%s\nof\n%s", rest, printed)
	}
}
