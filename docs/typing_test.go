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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// patience is how long a command of a document may take to say what the
// document says, on a busy machine.
const patience = 3 * time.Minute

// step is a command of a document, and what it shall print.
type step struct {
	command   string
	output    []string // lines
	interrupt int      // after how many of them comes a Ctrl-C, or -1
	typed     []step   // what is typed into the psql that the command starts
}

// consoleBlocks returns the blocks of a document, or a part of one, that show a
// terminal.
func consoleBlocks(text string) (blocks []string) {
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, block[1])
	}
	return blocks
}

var prompt = regexp.MustCompile(`^[a-z]+=> (.*)$`)

// readSteps reads a block: commands after "$ ", statements after psql's prompt,
// and what each of them prints.
func readSteps(t *testing.T, block string) (steps []step) {
	t.Helper()
	for line := range strings.Lines(block) {
		line = strings.TrimRight(line, " \n")
		if command, isCommand := strings.CutPrefix(line, "$ "); isCommand {
			steps = append(steps, step{command: command, interrupt: -1})
			continue
		}
		if len(steps) == 0 {
			t.Fatalf("a block begins without a command: %s", line)
		}
		last := &steps[len(steps)-1]
		if statement := prompt.FindStringSubmatch(line); statement != nil {
			last.typed = append(last.typed, step{command: statement[1], interrupt: -1})
			continue
		}
		if len(last.typed) > 0 {
			last = &last.typed[len(last.typed)-1]
		}
		line, typed := strings.CutPrefix(line, "^C") // what comes next stands on the same line
		if typed {
			last.interrupt = len(last.output)
		}
		if line != "" || !typed && len(last.output) > 0 {
			last.output = append(last.output, line)
		}
	}
	return steps
}

// reader is somebody who follows a document: in a directory, with a server.
type reader struct {
	dir     string
	env     []string
	home    string            // the first dir
	server  *localpg.Server   // what PG* variables in env lead to
	learned map[string]string // numbers that the document shows, and what they were in truth
	logFile string            // the host's log, to show if something is wrong
}

// newReader starts a server and makes an empty directory with a short path, as
// sockets need it.
func newReader(t *testing.T, options localpg.Options) *reader {
	t.Helper()
	server, err := localpg.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	if server.Binaries().Program("psql") == "" {
		t.Skip("this PostgreSQL has no psql")
	}
	home, err := os.MkdirTemp("", "pgx-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	bin := filepath.Join(home, "bin")
	return &reader{dir: home, home: home, server: server, learned: make(map[string]string), env: append(os.Environ(),
		"MAKEFLAGS=", "MAKELEVEL=", // those of the make that runs this test
		"PATH="+bin+":"+os.Getenv("PATH")+":"+server.Binaries().Dir,
		"PGHOST="+server.Dir(), fmt.Sprintf("PGPORT=%d", server.Port()), "PGUSER=postgres", "PGDATABASE=", "PGEXTHOST_DATA=",
		"GOPROXY=off", "GOFLAGS=-mod=readonly", "GOWORK=off", "LC_ALL=C", "PAGER=", "PSQLRC=/nonexistent",
	)}
}

func (r *reader) command(ctx context.Context, script string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir, cmd.Env = r.dir, r.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // for Ctrl-C
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// looks matches commands that look at what comes to pass by itself.
var looks = regexp.MustCompile(`^(grep|curl|psql [a-z]+ -c "(SELECT|TABLE)|(bin/)?pgexthost why|SELECT [*p]|INSERT) ?`)

// follow types one command, and expects what the document says. A command that
// looks at what comes to pass by itself is typed again until that has.
func (r *reader) follow(t *testing.T, s step) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	switch {
	case s.interrupt >= 0:
		r.interrupt(ctx, t, s)
	case len(s.typed) > 0:
		r.converse(ctx, t, s)
	default:
		r.try(ctx, t, s, func() (string, error) { return r.run(ctx, s.command) })
	}
}

// try does something until what a step shall print is printed, if the step looks
// at what comes to pass by itself, or else once.
func (r *reader) try(ctx context.Context, t *testing.T, s step, do func() (printed string, err error)) {
	t.Helper()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		out, err := do()
		if code, exited := errors.AsType[*exec.ExitError](err); exited && code.ExitCode() == 3 && strings.Contains(s.command, "pgexthost why ") {
			err = nil // the worker does not run, and why is what it prints
		}
		missing := r.missingIn(s, out)
		if err == nil && missing == "" {
			return
		}
		if !looks.MatchString(s.command) || ctx.Err() != nil {
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
	out := newOutput()
	cmd := r.command(ctx, "exec "+s.command)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	before := step{output: s.output[:s.interrupt]}
	out.await(ctx, func(printed string) bool { return r.missingIn(before, printed) == "" })
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	err := cmd.Wait()
	missing := r.missingIn(s, out.String())
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited || missing != "" {
		t.Fatalf("$ %s\n%s%v; missing: %q", s.command, out, err, missing)
	}
}

// converse types statements into one psql.
func (r *reader) converse(ctx context.Context, t *testing.T, s step) {
	t.Helper()
	out := newOutput()
	cmd := r.command(ctx, "exec "+s.command)
	cmd.Stdout, cmd.Stderr = out, out
	keyboard, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = keyboard.Close()
		_ = cmd.Wait()
	}()
	const end = "-- that was all --\n"
	for _, statement := range s.typed {
		r.try(ctx, t, statement, func() (string, error) {
			before := len(out.String())
			if _, err := fmt.Fprintf(keyboard, "%s\n\\echo %s", r.inTruth(statement.command), end); err != nil {
				return out.String(), err
			}
			out.await(ctx, func(printed string) bool { return strings.HasSuffix(printed[before:], end) })
			printed := strings.TrimSuffix(out.String()[before:], end)
			if strings.Contains(printed, "ERROR:") || ctx.Err() != nil {
				return printed, errors.New("psql has not done it")
			}
			return printed, nil
		})
	}
}

var number = regexp.MustCompile(`[0-9]+`)

// inTruth replaces the large numbers of a command, such as pids, by those that
// have been printed in their place.
func (r *reader) inTruth(command string) string {
	return number.ReplaceAllStringFunc(command, func(shown string) string {
		if truth, ok := r.learned[shown]; ok {
			return truth
		}
		return shown
	})
}

// missingIn returns the first line of what a step shall print that is not among
// what it has printed, in this order. The reader's home is /home/me there. See patternOf for what may differ.
func (r *reader) missingIn(s step, printed string) string {
	printed = strings.ReplaceAll(printed, r.home, "/home/me")
	for _, line := range s.output {
		at := patternOf(line).FindStringSubmatchIndex(printed)
		if at == nil {
			return line
		}
		for i, shown := range number.FindAllString(line, -1) {
			if len(shown) > 3 && 2*i+3 < len(at) {
				r.learned[shown] = printed[at[2*i+2]:at[2*i+3]]
			}
		}
		printed = printed[at[1]:]
	}
	return ""
}

// patternOf returns what matches a line of output. "…" stands for anything, and a
// number for any number. In a table of psql's, and where a command counts the time
// in dots, widths may differ.
func patternOf(line string) *regexp.Regexp {
	pattern := regexp.QuoteMeta(line)
	pattern = strings.ReplaceAll(pattern, "…", ".*")
	pattern = number.ReplaceAllString(pattern, "([0-9]+)")
	if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "--") || strings.Contains(line, " | ") {
		pattern = regexp.MustCompile(` +`).ReplaceAllString(pattern, " *")
		pattern = regexp.MustCompile(`-{3,}`).ReplaceAllString(pattern, "-+")
	}
	pattern = regexp.MustCompile(`(\\\.){3,}`).ReplaceAllString(pattern, `\.+`)
	return regexp.MustCompile(`(?m)^` + pattern + `[ \t]*$`)
}

// log is what the host has logged so far.
func (r *reader) log() string {
	text, err := os.ReadFile(r.logFile)
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

func newOutput() *output { return &output{changed: make(chan struct{}, 1)} }

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

// await returns when what was printed is as it should be, or when ctx ends.
func (o *output) await(ctx context.Context, done func(printed string) bool) {
	for !done(o.String()) && ctx.Err() == nil {
		select {
		case <-o.changed:
		case <-ctx.Done():
		}
	}
}
