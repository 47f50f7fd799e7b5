package docs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// patience is how long a command of the tutorial may take to say what the
// tutorial says, on a busy machine.
const patience = 3 * time.Minute

// step is a command of the tutorial, and what it shall print.
type step struct {
	command   string
	output    []string // lines
	interrupt int      // after how many of them comes a Ctrl-C, or -1
}

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

func readSteps(t *testing.T, block string) (steps []step) {
	t.Helper()
	for line := range strings.Lines(block) {
		line = strings.TrimRight(line, " \n")
		command, isCommand := strings.CutPrefix(line, "$ ")
		if isCommand {
			steps = append(steps, step{command: command, interrupt: -1})
			continue
		}
		if len(steps) == 0 {
			t.Fatalf("a block begins without a command: %s", line)
		}
		line, typed := strings.CutPrefix(line, "^C") // what comes next stands on the same line
		if typed {
			steps[len(steps)-1].interrupt = len(steps[len(steps)-1].output)
		}
		if line != "" || !typed {
			steps[len(steps)-1].output = append(steps[len(steps)-1].output, line)
		}
	}
	return steps
}

// The commands of the tutorial, each typed as it stands there, lead from nothing to
// a worker that was tested, run, changed and reloaded.
func TestTheAuthorsTutorialWorksWordForWord(t *testing.T) {
	all := readTutorial(t)
	if len(all.steps) < 20 || len(all.code) < 4 {
		t.Fatalf("found %d commands and %d pieces of code only: has the form changed?", len(all.steps), len(all.code))
	}
	r := newReader(t)
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

// reader is somebody who follows the tutorial: in a directory, with a server.
type reader struct {
	dir  string
	env  []string
	home string // the first dir
}

func newReader(t *testing.T) *reader {
	t.Helper()
	server, err := localpg.Start(t.Context(), localpg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	if server.Binaries().Program("psql") == "" {
		t.Skip("this PostgreSQL has no psql")
	}
	home, err := os.MkdirTemp("", "pgx-") // a short path, as sockets need it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(home, "bin")
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "pgexthost"), "../cmd/pgexthost")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Symlink(checkout, filepath.Join(home, "pgexthost")); err != nil {
		t.Fatal(err)
	}
	r := &reader{dir: home, home: home, env: append(os.Environ(),
		"PATH="+bin+":"+os.Getenv("PATH")+":"+server.Binaries().Dir,
		"PGHOST="+server.Dir(), fmt.Sprintf("PGPORT=%d", server.Port()), "PGUSER=postgres", "PGDATABASE=", "PGEXTHOST_DATA=",
		"GOPROXY=off", "GOFLAGS=-mod=readonly", "GOWORK=off", "LC_ALL=C", "PAGER=", "PSQLRC=/nonexistent",
	)}
	t.Cleanup(func() { // if the tutorial does not get so far
		_ = r.command(context.Background(), "cd "+home+"/hello && pgexthost stop -D dev -m immediate").Run()
	})
	return r
}

func (r *reader) command(ctx context.Context, script string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir, cmd.Env = r.dir, r.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // for Ctrl-C
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
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

// follow types one command, and expects what the tutorial says. A command that
// looks at what comes to pass by itself is typed again until that has.
func (r *reader) follow(t *testing.T, s step) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if s.interrupt >= 0 {
		r.interrupt(ctx, t, s)
		return
	}
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		out, err := r.run(ctx, s.command)
		if code, exited := errors.AsType[*exec.ExitError](err); exited && code.ExitCode() == 3 && strings.HasPrefix(s.command, "pgexthost why ") {
			err = nil // the worker does not run, and why is what it prints
		}
		missing := s.missingIn(out)
		if err == nil && missing == "" {
			return
		}
		if looks := regexp.MustCompile(`^(grep|psql postgres -c "SELECT|pgexthost why) ?`).MatchString(s.command); !looks || ctx.Err() != nil {
			t.Fatalf("$ %s\n%s%v; missing: %q\n%s", s.command, out, err, missing, r.log())
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

// run runs a command in the directory that the last one has left.
func (r *reader) run(ctx context.Context, command string) (output string, err error) {
	where := filepath.Join(r.home, "pwd")
	out, err := r.command(ctx, command+"\nstatus=$?; pwd > "+where+"; exit $status").CombinedOutput()
	if dir, readErr := os.ReadFile(where); err == nil {
		r.dir, err = strings.TrimSpace(string(dir)), readErr
	}
	return string(out), err
}

// interrupt runs a command that does not end by itself.
func (r *reader) interrupt(ctx context.Context, t *testing.T, s step) {
	t.Helper()
	out := &output{changed: make(chan struct{}, 1)}
	cmd := r.command(ctx, "exec "+s.command)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	before := step{output: s.output[:s.interrupt]}
	for before.missingIn(out.String()) != "" && ctx.Err() == nil {
		select {
		case <-out.changed:
		case <-ctx.Done():
		}
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	err := cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited || s.missingIn(out.String()) != "" {
		t.Fatalf("$ %s\n%s%v; missing: %q", s.command, out, err, s.missingIn(out.String()))
	}
}

// missingIn returns the first line of what a step shall print that is not among
// what it has printed, in this order. "…" stands for anything, and a number for any
// number.
func (s step) missingIn(printed string) string {
	for _, line := range s.output {
		pattern := regexp.QuoteMeta(line)
		pattern = strings.ReplaceAll(pattern, "…", ".*")
		pattern = regexp.MustCompile(`[0-9]+`).ReplaceAllString(pattern, "[0-9]+")
		at := regexp.MustCompile(`(?m)^` + pattern + `[ \t]*$`).FindStringIndex(printed)
		if at == nil {
			return line
		}
		printed = printed[at[1]:]
	}
	return ""
}

// log is what the host has logged so far.
func (r *reader) log() string {
	text, err := os.ReadFile(filepath.Join(r.home, "hello", "dev", "log"))
	if err != nil {
		return ""
	}
	return "the host's log:\n" + string(text)
}

// output is what a command has printed so far. It is safe for concurrent use.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

var _ io.Writer = (*output)(nil)

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
