package pluginstest_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

// program is a library's program, as a person starts it.
type program struct {
	*exec.Cmd
	stdout bytes.Buffer
	log    *bufio.Scanner
	lines  strings.Builder // of the log, as far as it was read
}

func startProgram(t *testing.T, library string, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.CommandContext(t.Context(), os.Args[0], args...)}
	p.Env = append(os.Environ(), asProgram+"="+library)
	p.Stdout = &p.stdout
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { _ = p.Process.Kill() })
	t.Cleanup(func() { timer.Stop(); _ = p.Process.Kill(); _ = p.Wait() })
	p.log = bufio.NewScanner(stderr)
	return p
}

// await reads the log until a line contains a text.
func (p *program) await(t *testing.T, text string) {
	t.Helper()
	for p.log.Scan() {
		p.lines.WriteString(p.log.Text() + "\n")
		if strings.Contains(p.log.Text(), text) {
			return
		}
	}
	t.Fatalf("the program has ended without logging %q:\n%s", text, p.lines.String())
}

// end reads the log to its end, and returns how the process ended.
func (p *program) end() *os.ProcessState {
	for p.log.Scan() {
		p.lines.WriteString(p.log.Text() + "\n")
	}
	_ = p.Wait()
	return p.ProcessState
}

func (p *program) signal(t *testing.T, sig unix.Signal) {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func wantAll(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("there is no %q in:\n%s", w, got)
		}
	}
}

func TestALibraryThatAPersonStartsSaysWhatItIs(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"--help"}, {"-?"}, {"-h", "--version"}} {
		p := startProgram(t, "kit", args...)
		if state := p.end(); state.ExitCode() != 0 || p.lines.Len() > 0 {
			t.Errorf("%q: %v, %s", args, state, p.lines.String())
		}
		wantAll(t, p.stdout.String(),
			"kit is a library of background workers for PostgreSQL",
			"Plugin ABI:  ", "\nFunctions:\n  crash\n", "\n  lead   (starts with signals blocked)\n",
			"  kit greeter\n      greet, started with the host, restarted after 10 s\n",
			"LOG:  background worker \"refused\": background workers without shared memory access are not supported\n",
			"  kit.greeting = 'it''s me'   (string, context sighup)\n      What to say.\n",
			"  kit.naptime = '1min'   (integer, 1s .. 1d, context sighup)\n",
			"  kit.order = 'oldest'   (enum, oldest | newest, context postmaster)\n",
			"  kit.enabled = on   (bool, context sighup)\n",
			"  kit.buffer = '64kB'   (integer, 1kB .. 1GB, context sighup)\n",
			"shared_preload_libraries = '"+filepath.Base(os.Args[0])+"'", "dynamic_library_path = '"+filepath.Dir(os.Args[0])+":$libdir'",
			"--standalone greet",
		)
	}
	p := startProgram(t, "kit", "-V")
	if state := p.end(); state.ExitCode() != 0 || !strings.HasPrefix(p.stdout.String(), "kit ") || strings.Count(p.stdout.String(), "\n") != 1 {
		t.Errorf("%v, %s", state, p.stdout.String())
	}
}

func TestAnInitThatFailsIsDescribedAndNotStarted(t *testing.T) {
	t.Parallel()
	p := startProgram(t, "broken")
	if state := p.end(); state.ExitCode() != 0 {
		t.Errorf("%v: %s", state, p.lines.String())
	}
	wantAll(t, p.stdout.String(), "ERROR:  could not initialize library \"broken\": no room\n", "Options:")
	p = startProgram(t, "broken", "--standalone", "main")
	if state := p.end(); state.ExitCode() != 1 {
		t.Errorf("%v: %s", state, p.lines.String())
	}
	wantAll(t, p.lines.String(), "FATAL:  could not initialize library \"broken\": no room\n")
}

func TestWrongArgumentsAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"greet"}, "error: too many command-line arguments (first is \"greet\")"},
		{[]string{"-"}, "error: too many command-line arguments (first is \"-\")"},
		{[]string{"--standalon", "greet"}, "error: unrecognized option \"--standalon\""},
		{[]string{"-x"}, "error: unrecognized option \"-x\""},
		{[]string{"--help=yes"}, "error: unrecognized option \"--help=yes\""},
		{[]string{"--standalone"}, "error: option \"--standalone\" requires an argument"},
		{[]string{"--name", "x"}, "error: option \"--name\" is of use only with --standalone FUNCTION"},
		{[]string{"--standalone", "greet", "--arg", "many"}, "error: invalid argument \"many\" of --arg: not a number of 64 bits"},
		{[]string{"--standalone", "greet", "-c", "x"}, "error: -c x requires a value"},
		{[]string{"--standalone", "greet", "--extra", strings.Repeat("x", 129)}, "error: extra data are longer than 128 bytes\n"},
		{[]string{"--standalone", "greed"}, "FATAL:  could not find function \"greed\" in file \"kit\"\n"},
		{[]string{"--standalone=greet", "-cmax_worker_processes=many"}, "FATAL:  invalid value for parameter \"max_worker_processes\": \"many\"\n"},
		{[]string{"--standalone", "greet", "-c", "nap_time=1"}, "FATAL:  unrecognized configuration parameter \"nap_time\"\n"},
		{[]string{"--standalone", "greet", "-D", "/nonexistent"}, "FATAL:  configuration file \"/nonexistent/pgexthost.conf\" contains errors\n"},
	} {
		p := startProgram(t, "kit", tt.args...)
		if state := p.end(); state.ExitCode() != 1 || p.stdout.Len() > 0 {
			t.Errorf("%q: %v, %s", tt.args, state, p.stdout.String())
		}
		wantAll(t, p.lines.String()+"\n", tt.want)
	}
}

func TestAStandaloneWorkerEndsAsUnderAHost(t *testing.T) {
	t.Parallel()
	for function, want := range map[string]string{
		"fail":  "ERROR:  no room (SQLSTATE 53100)\n",
		"crash": "ERROR:  panic: help (SQLSTATE XX000)\n",
		"lead":  "ERROR:  cannot start background processes without postmaster (SQLSTATE 53000)\n",
	} {
		p := startProgram(t, "kit", "--standalone", function)
		if state := p.end(); state.ExitCode() != 1 {
			t.Errorf("%s: %v", function, state)
		}
		wantAll(t, p.lines.String(), want, ") exited with exit code 1\n")
	}
	p := startProgram(t, "kit", "--standalone", "done")
	if state := p.end(); state.ExitCode() != 0 || strings.Contains(p.lines.String(), "exited") {
		t.Errorf("%v: %s", state, p.lines.String())
	}
}

func TestOptionsOfAStandaloneWorkerOutrankItsLibrarys(t *testing.T) {
	t.Parallel()
	p := startProgram(t, "kit", "--standalone", "greet", "--name=me", "--type", "t", "--arg=-3", "--extra", "east", "-c", "kit.greeting=hi", "-clog_line_prefix=%b:%p ")
	p.await(t, "LOG:  me says hi -3 east")
	p.signal(t, unix.SIGTERM)
	if state := p.end(); state.ExitCode() != 1 {
		t.Error(state)
	}
	wantAll(t, p.lines.String(), "FATAL:  terminating background worker \"t\" due to administrator command\n", "background worker \"t\" (PID ", "\nt:")
}

func TestCtrlCIsSIGTERMAndASecondOneTheEnd(t *testing.T) {
	t.Parallel()
	p := startProgram(t, "kit", "--standalone", "greet")
	p.await(t, "kit greeter says it's me 5")
	p.signal(t, unix.SIGINT)
	if state := p.end(); state.ExitCode() != 1 {
		t.Error(state)
	}
	wantAll(t, p.lines.String(), "FATAL:  terminating background worker \"greeter\" due to administrator command\n")

	p = startProgram(t, "kit", "--standalone", "deaf")
	p.await(t, "listening")
	p.signal(t, unix.SIGINT)
	tick := time.NewTicker(time.Millisecond) // until the first has been taken
	defer tick.Stop()
	go func() {
		for range tick.C {
			if p.Process.Signal(unix.SIGINT) != nil {
				return
			}
		}
	}()
	state := p.end()
	if status, ok := state.Sys().(interface{ Signaled() bool }); !ok || !status.Signaled() {
		t.Errorf("got %v; log:\n%s", state, p.lines.String())
	}
}

func TestSIGHUPReadsTheSettingsOfAHostsDirectoryAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "pgexthost.conf")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("kit.greeting = 'good day'\n")
	p := startProgram(t, "kit", "--standalone", "greet", "-D", dir, "-c", "kit.naptime=1h")
	p.await(t, "says good day")
	write("kit.greeting = 'good night'\nkit.naptime = 5s\n")
	p.signal(t, unix.SIGHUP)
	p.await(t, "says good night")
	p.signal(t, unix.SIGUSR1) // the latch: another round
	p.await(t, "says good night")
	p.signal(t, unix.SIGQUIT)
	if state := p.end(); state.ExitCode() != 2 {
		t.Error(state)
	}
	wantAll(t, p.lines.String(), "parameter \"kit.greeting\" changed to \"good night\"", "goroutine ")
}

func TestAStandaloneWorkerHasASession(t *testing.T) {
	t.Parallel()
	db := pluginstest.Server(t).NewDatabase(t)
	conn := db.Connect(t)
	p := startProgram(t, "worker_spi", "--standalone", "worker_spi_main", "--server", db.Conninfo(),
		"-c", "worker_spi.database="+conn.Config().Database, "-c", "worker_spi.naptime=1", "--name", "worker_spi worker 2")
	p.await(t, "worker_spi worker 2 initialized with schema2.counted")
	mustExec(t, conn, "INSERT INTO schema2.counted VALUES ('total', 1), ('delta', 41)")
	p.await(t, "count in schema2.counted is now 42")
	p.signal(t, unix.SIGINT)
	if state := p.end(); state.ExitCode() != 1 {
		t.Error(state)
	}
}
