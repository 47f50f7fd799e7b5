package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/version"
)

// asProgram makes the test binary the program itself. The value is the pid of
// the test, by which all processes that stem from it are known.
const asProgram = "PGEXTHOST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		beProgram()
	}
	if err := host.Supported(); err != nil {
		fmt.Println("no tests to run:", err)
		return
	}
	code := m.Run()
	if orphans := endOrphans(); orphans != "" {
		fmt.Fprintf(os.Stderr, "the tests have left processes behind:\n%s", orphans)
		code = 1
	}
	os.Exit(code)
}

// result is what a finished program leaves.
type result struct {
	code           int
	stdout, stderr string
}

func pgexthost(t *testing.T, args ...string) result {
	t.Helper()
	return runToEnd(t, program(args...))
}

func program(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", asProgram, os.Getpid()), "PGEXTHOST_DATA=", "PGCTLTIMEOUT=60")
	return cmd
}

func (r result) want(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	if !strings.Contains(r.stdout, stdout) || (stdout == "" && r.stdout != "") {
		t.Errorf("standard output is\n%s\nwant\n%s", r.stdout, stdout)
	}
	if !strings.Contains(r.stderr, stderr) || (stderr == "" && r.stderr != "") {
		t.Errorf("standard error is\n%s\nwant\n%s", r.stderr, stderr)
	}
}

func TestHelpAndVersion(t *testing.T) {
	pgexthost(t, "--version").want(t, 0, "pgexthost "+version.Number, "")
	pgexthost(t, "-V").want(t, 0, "pgexthost "+version.Number, "")
	pgexthost(t, "--help").want(t, 0, "Usage:\n  pgexthost COMMAND", "")
	pgexthost(t).want(t, 1, "", "Usage:\n  pgexthost COMMAND")
	for _, c := range commands() {
		for _, help := range []string{"--help", "-h", "-?"} {
			pgexthost(t, c.name, help).want(t, 0, "Usage:\n  pgexthost "+c.name, "")
		}
		pgexthost(t, "help", c.name).want(t, 0, "Usage:\n  pgexthost "+c.name, "")
		pgexthost(t, "--help").want(t, 0, "  "+c.name, "")
	}
}

func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"fly"}, "pgexthost: error: unrecognized command \"fly\"\npgexthost: hint: Try \"pgexthost --help\""},
		{[]string{"run"}, "pgexthost: error: no data directory specified\npgexthost: hint: Say -D DIR"},
		{[]string{"init"}, "pgexthost: error: no data directory specified"},
		{[]string{"run", "-D", "x", "y"}, "pgexthost: error: too many command-line arguments (first is \"y\")"},
		{[]string{"help", "fly"}, "pgexthost: error: unrecognized command \"fly\""},
		{[]string{"launch", "a", "b", "--arg", "x"}, "pgexthost: error: invalid argument \"x\" of --arg: not a number\npgexthost: hint: Try \"pgexthost launch --help\""},
		{[]string{"stop", "-t", "-1"}, "pgexthost: error: invalid argument \"-1\" of --timeout: not a number of 0 or more\n"},
		{[]string{"stop", "-t", "99999999999"}, "pgexthost: error: invalid argument \"99999999999\" of --timeout: out of range\n"},
		{[]string{"ps", "--watch=5"}, "pgexthost: error: invalid argument \"5\" of --watch: not true or false\n"},
		{[]string{"start", "--wait=5"}, "pgexthost: error: invalid argument \"5\" of --wait: not true or false\n"},
		{[]string{"run", "--fast"}, "pgexthost: error: unknown flag: --fast\npgexthost: hint: Try \"pgexthost run --help\""},
		{[]string{"init", "-D", "/dev/null/x"}, "pgexthost: error: could not create directory \"/dev/null/x\": Not a directory"},
		{[]string{"init", "-D", "x", "--server", "hostaddr=127.0.0.1"}, "hostaddr"},
		{[]string{"demo", "--server", "host=/nonexistent"}, "pgexthost: error: could not connect to server"},
	} {
		pgexthost(t, tt.args...).want(t, 1, "", tt.says)
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("a failed init left a directory")
	}
}

func TestInitRefusesToOverwrite(t *testing.T) {
	dir := filepath.Join(shortTempDir(t), "new")
	pgexthost(t, "init", "-D", dir, "--server", "host=db.example.com").want(t, 0, " run -D "+dir, "")
	text, err := os.ReadFile(filepath.Join(dir, "pgexthost.conf"))
	if err != nil || !bytes.Contains(text, []byte("server_conninfo = 'host=db.example.com'")) {
		t.Errorf("%v\n%s", err, text)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	pgexthost(t, "init", "-D", dir).want(t, 1, "", "directory \""+dir+"\" exists but is not empty")
	if again, _ := os.ReadFile(filepath.Join(dir, "pgexthost.conf")); !bytes.Equal(text, again) {
		t.Error("the file was changed")
	}
}

func TestInitTakesAnEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	pgexthost(t, "init", "--pgdata", dir).want(t, 0, " run -D ", "")
}

func TestRunReportsOnStandardErrorWithExitCode1(t *testing.T) {
	pgexthost(t, "run", "-D", filepath.Join(t.TempDir(), "none")).want(t, 1, "", "FATAL:  could not access directory")
}

func TestTheDemoPassesAndLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", shortTempDir(t))
	r := pgexthost(t, "demo")
	r.want(t, 0, "The demo has passed", "")
	for _, line := range []string{
		"host| ", "LOG:  worker_spi worker 2 initialized with schema2.counted",
		"schema1.counted: the total is 233, as it should be", "LOG:  extension host is shut down",
	} {
		r.want(t, 0, line, "")
	}
	expectEmpty(t, os.Getenv("TMPDIR"))
}

func TestAnInterruptedDemoLeavesNothing(t *testing.T) {
	skipIfShort(t)
	t.Setenv("TMPDIR", shortTempDir(t))
	cmd := program("demo", "--keep")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, stdout, "The host keeps running until Ctrl-C")
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	waitFor(t, stdout, "extension host is shut down")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	expectEmpty(t, os.Getenv("TMPDIR"))
}

func TestRunCommandLine(t *testing.T) {
	err := run(context.Background(), []string{"nonsense"})
	if exitCode(err) != 1 {
		t.Errorf("got %v", err)
	}
}
