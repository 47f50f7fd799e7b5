package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// author is somebody who writes a library, with a shell.
type author struct {
	dir string // where they are
	env []string
}

// newAuthor returns an author with an empty directory and a server, but no network.
func newAuthor(t *testing.T) (author, *pgx.Conn) {
	t.Helper()
	server, err := localpg.Start(t.Context(), localpg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	conn, err := pgx.Connect(t.Context(), server.ConnInfo())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return author{shortTempDir(t), append(program().Env,
		"PGHOST="+server.Dir(), fmt.Sprintf("PGPORT=%d", server.Port()), "PGUSER=postgres", "PGDATABASE=postgres",
		"GOPROXY=off", "GOFLAGS=-mod=readonly", "GOWORK=off")}, conn
}

// types returns a command line, ready to be run where the author is.
func (a author) types(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir, cmd.Env = a.dir, a.env
	return cmd
}

func (a author) runs(t *testing.T, line string) result {
	t.Helper()
	r := runToEnd(t, a.types(t, line))
	if r.code != 0 {
		t.Fatalf("$ %s\n%s%sexit code %d", line, r.stdout, r.stderr, r.code)
	}
	return r
}

// From nothing to a worker under a host, by the commands that plugin new prints,
// and to a changed one.
func TestANewAuthorsPath(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	a, conn := newAuthor(t)
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var next []string
	for line := range strings.Lines(a.runs(t, callAgain(os.Args[0])+" plugin new mine --replace "+checkout).stdout) {
		if step, ok := strings.CutPrefix(line, "    "); ok {
			next = append(next, strings.TrimSpace(step))
		}
	}
	if len(next) != 6 || next[0] != "cd mine" {
		t.Fatalf("it is to go on with %q", next)
	}
	a.dir = filepath.Join(a.dir, "mine")
	for _, line := range next[1:5] {
		a.runs(t, line)
	}
	h := a.hosts(t, next[5])
	h.awaits(t, "LOG:  waiting for tasks in database \"postgres\"")
	a.expects(t, conn, "morning", "MORNING")

	a.edits(t, "main.go", "return strings.ToUpper(input)", "return strings.Repeat(input, 2)")
	a.runs(t, next[1]) // go build
	a.runs(t, callAgain(os.Args[0])+" plugin reload mine -D dev")
	a.expects(t, conn, "night", "nightnight")

	if err := h.cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	h.awaits(t, "LOG:  extension host is shut down")
	if err := h.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// edits replaces a text that is there once.
func (a author) edits(t *testing.T, file, old, by string) {
	t.Helper()
	path := filepath.Join(a.dir, file)
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), old) != 1 {
		t.Fatalf("%v; is %q in %s?", err, old, path)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, by, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// expects gives the worker a task and waits for its output.
func (a author) expects(t *testing.T, conn *pgx.Conn, input, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var id int64
	if err := conn.QueryRow(ctx, "INSERT INTO mine_task (input) VALUES ($1) RETURNING id", input).Scan(&id); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "NOTIFY mine"); err != nil {
		t.Fatal(err)
	}
	eventually(t, fmt.Sprintf("%q is made of %q", want, input), func() bool {
		var output string
		err := conn.QueryRow(ctx, "SELECT output FROM mine_task WHERE id = $1 AND done IS NOT NULL", id).Scan(&output)
		return err == nil && output == want
	})
}

// authorsHost is a host in the foreground.
type authorsHost struct {
	cmd *exec.Cmd
	log *bufio.Scanner
}

// hosts starts a host by a command line.
func (a author) hosts(t *testing.T, line string) authorsHost {
	t.Helper()
	h := authorsHost{cmd: a.types(t, "exec "+line)}
	stderr, err := h.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.cmd.Process.Kill(); _ = h.cmd.Wait() })
	h.log = bufio.NewScanner(stderr)
	return h
}

// awaits reads the log until a line contains a text. The host is killed when
// its time is over, and the log ends.
func (h authorsHost) awaits(t *testing.T, text string) {
	t.Helper()
	var seen strings.Builder
	for h.log.Scan() {
		if strings.Contains(h.log.Text(), text) {
			return
		}
		seen.WriteString(h.log.Text() + "\n")
	}
	t.Fatalf("the host has not logged %q:\n%s", text, &seen)
}

func TestPluginNewRefusesAndWritesNothing(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	for _, tt := range []struct {
		args []string
		says string
	}{
		{nil, "pgexthost: error: no name specified"},
		{[]string{"a", "b"}, "pgexthost: error: too many command-line arguments (first is \"b\")"},
		{[]string{"../a"}, "pgexthost: error: invalid library name: \"../a\"\npgexthost: detail: It has to begin with a lower-case letter"},
		{[]string{"postgres"}, "pgexthost: error: library name \"postgres\" is reserved"},
		{[]string{"worker_spi"}, "pgexthost: error: library name \"worker_spi\" is taken\npgexthost: detail: A library of that name is a part of the host."},
		{[]string{"mine", "--replace", "."}, "pgexthost: error: could not read the module in directory"},
	} {
		cmd := program(append([]string{"plugin", "new"}, tt.args...)...)
		cmd.Dir = dir
		runToEnd(t, cmd).want(t, 1, "", tt.says)
	}
	expectEmpty(t, dir)
}

// In a workspace, a module is not built before it is a part of that.
func TestPluginNewInAWorkspaceSaysHowToJoinIt(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	if err := os.WriteFile(filepath.Join(dir, "go.work"), []byte("go 1.26.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := program("plugin", "new", "mine", "--replace", checkout)
	cmd.Dir = dir
	r := runToEnd(t, cmd)
	r.want(t, 0, "    cd mine\n    go work use .\n    go build -o lib/mine .\n", "")
	build := exec.Command("sh", "-ec", "cd mine; go work use .; go build -o lib/mine .")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
