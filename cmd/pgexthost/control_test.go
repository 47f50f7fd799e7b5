package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// hostDir is a data directory with a log file beside it. No host outlives it.
type hostDir struct{ path, log string }

func newHostDir(t *testing.T) hostDir {
	t.Helper()
	parent := shortTempDir(t)
	d := hostDir{filepath.Join(parent, "data"), filepath.Join(parent, "log")}
	pgexthost(t, "init", "-D", d.path).want(t, 0, "Created", "")
	t.Cleanup(func() { endHosts(t, d.path) })
	return d
}

// control runs a command on the directory.
func (d hostDir) control(t *testing.T, command string, args ...string) result {
	t.Helper()
	return pgexthost(t, append([]string{command, "-D", d.path}, args...)...)
}

const startedText = "waiting for server to start... done\nserver started\n"

// start starts a host and returns its process.
func (d hostDir) start(t *testing.T, args ...string) *lockfile.Process {
	t.Helper()
	d.control(t, "start", append(args, "-l", d.log)...).exactly(t, 0, startedText, "")
	return d.holder(t)
}

// holder returns the process of the host that runs.
func (d hostDir) holder(t *testing.T) *lockfile.Process {
	t.Helper()
	c, err := lockfile.Read(d.path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Holder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// logged returns the log so far.
func (d hostDir) logged(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(d.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantLogged waits until the log says the text: the host is ready, or gone,
// before all that it has said is written.
func (d hostDir) wantLogged(t *testing.T, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the log says %q", text), func() bool { return strings.Contains(d.logged(t), text) })
	if t.Failed() {
		t.Log(d.logged(t))
	}
}

// writeLockFile makes the lock file say that a process has run here for an hour.
func (d hostDir) writeLockFile(t *testing.T, pid int) {
	t.Helper()
	c := lockfile.Contents{Pid: pid, DataDir: d.path, Started: time.Now().Add(-time.Hour), Status: lockfile.Ready}
	if err := os.WriteFile(filepath.Join(d.path, lockfile.Name), []byte(c.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sleeper is a process that is no host.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", asProgram, os.Getpid())) // ours to end, whatever happens
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// deadPid is the pid of a process that has ended.
func deadPid(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func expectAlive(t *testing.T, p *lockfile.Process) {
	t.Helper()
	if hasEnded(p.Pid) {
		t.Errorf("process %d should live", p.Pid)
	}
}

func expectGone(t *testing.T, p *lockfile.Process) {
	t.Helper()
	if !hasEnded(p.Pid) {
		t.Errorf("process %d should have ended by now", p.Pid)
	}
}

// expectEnd waits for the end that is to come.
func expectEnd(t *testing.T, p *lockfile.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Errorf("process %d should end: %v", p.Pid, err)
	}
}

// freeze stops a process, so that it does nothing until it is thawed or killed.
func freeze(t *testing.T, p *lockfile.Process) {
	t.Helper()
	if err := p.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

var dots = regexp.MustCompile(`\.{4,}`)

// exactly compares all that a command has said, with "..." for any number of
// dots that waiting took.
func (r result) exactly(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	if got := dots.ReplaceAllString(r.stdout, "..."); got != stdout {
		t.Errorf("standard output is\n%q\nwant\n%q", got, stdout)
	}
	if r.stderr != stderr {
		t.Errorf("standard error is\n%q\nwant\n%q", r.stderr, stderr)
	}
}

// notRunning are the words of commands that find no lock file.
func (d hostDir) notRunning() string {
	return fmt.Sprintf("pgexthost: PID file \"%s/postmaster.pid\" does not exist\nIs server running?\n", d.path)
}

func TestControlCommandsRefuseWhatIsNoDataDirectory(t *testing.T) {
	missing, other := filepath.Join(t.TempDir(), "none"), t.TempDir()
	file := filepath.Join(other, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"start", "stop", "restart", "reload", "status"} {
		code := 1
		if command == "status" {
			code = 4
		}
		pgexthost(t, command, "-D", missing+"/").exactly(t, code, "", "pgexthost: directory \""+missing+"\" does not exist\n")
		for _, dir := range []string{other, file} {
			pgexthost(t, command, "-D", dir).exactly(t, code, "", "pgexthost: directory \""+dir+"\" is not a data directory of pgexthost\n")
		}
		pgexthost(t, command, "-D", file+"/x").exactly(t, code, "", "pgexthost: could not access directory \""+file+"/x\": Not a directory\n")
		pgexthost(t, command).want(t, 1, "", "pgexthost: error: no data directory specified\npgexthost: hint: ")
		pgexthost(t, command, "-D", missing, "more").want(t, 1, "", "error: too many command-line arguments (first is \"more\")")
	}
}

func TestTheDataDirectoryCanComeFromTheEnvironment(t *testing.T) {
	d := newHostDir(t)
	cmd := program("stop")
	cmd.Env = append(cmd.Env, "PGEXTHOST_DATA="+d.path)
	runToEnd(t, cmd).exactly(t, 1, "", d.notRunning())
}

func TestAnUnreadableLockFileIsReported(t *testing.T) {
	d := newHostDir(t)
	for text, complaint := range map[string]string{
		"":      "pgexthost: the PID file \"" + d.path + "/postmaster.pid\" is empty\n",
		"junk":  "pgexthost: invalid data in PID file \"" + d.path + "/postmaster.pid\"\n",
		"-12\n": "pgexthost: invalid data in PID file \"" + d.path + "/postmaster.pid\"\n",
	} {
		if err := os.WriteFile(filepath.Join(d.path, lockfile.Name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		commands := []string{"stop", "reload", "status"}
		if text != "" {
			commands = append(commands, "start", "restart")
		}
		for _, command := range commands {
			d.control(t, command).exactly(t, 1, "", complaint)
		}
	}
}

func TestNoStrangerIsSignalled(t *testing.T) {
	d, stranger := newHostDir(t), sleeper(t)
	pid := stranger.Process.Pid
	d.writeLockFile(t, pid) // of a host that had the pid before it
	d.control(t, "stop", "-m", "immediate").exactly(t, 1, "", fmt.Sprintf("pgexthost: could not send stop signal (PID: %d): No such process\n", pid))
	d.control(t, "reload").exactly(t, 1, "", fmt.Sprintf("pgexthost: could not send reload signal (PID: %d): No such process\n", pid))
	d.control(t, "status").exactly(t, 3, "pgexthost: no server running\n", "")
	if err := stranger.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the stranger is gone: %v", err)
	}
}

func TestReload(t *testing.T) {
	d := newHostDir(t)
	d.control(t, "reload").exactly(t, 1, "", d.notRunning())
	p := d.start(t)
	d.control(t, "reload").exactly(t, 0, "server signaled\n", "")
	d.wantLogged(t, "LOG:  received SIGHUP, reloading configuration files") // a stop would overtake it
	d.control(t, "reload", "-s").exactly(t, 0, "", "")
	d.control(t, "stop").exactly(t, 0, stoppedText, "")
	expectEnd(t, p)
	pid := deadPid(t)
	d.writeLockFile(t, pid)
	d.control(t, "reload").exactly(t, 1, "", fmt.Sprintf("pgexthost: could not send reload signal (PID: %d): No such process\n", pid))
}

func TestStatus(t *testing.T) {
	d := newHostDir(t)
	none := func() { d.control(t, "status").exactly(t, 3, "pgexthost: no server running\n", "") }
	none()
	p := d.start(t, "-o", "-c 'log_line_prefix=%p \"$'")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d.control(t, "status").exactly(t, 0, fmt.Sprintf("pgexthost: server is running (PID: %d)\n%s \"run\" \"-D\" \"%s\" \"-c\" \"log_line_prefix=%%p \\\"\\$\"\n", p.Pid, exe, d.path), "")
	if err := os.Remove(filepath.Join(d.path, lockfile.OptsName)); err != nil {
		t.Fatal(err)
	}
	d.control(t, "status").exactly(t, 0, fmt.Sprintf("pgexthost: server is running (PID: %d)\n", p.Pid), "")
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, p)
	none() // the lock file is still there
}

func TestStatusDoesNotShowTheOptionsOfTheHostBefore(t *testing.T) {
	d := newHostDir(t)
	d.start(t, "-o", "-c log_min_messages=debug1")
	d.control(t, "stop").exactly(t, 0, stoppedText, "")
	d.control(t, "start", "-W", "-l", d.log, "-o", "-c shared_preload_libraries="+stuckLibrary).exactly(t, 0, "server starting\n", "")
	eventually(t, "it is starting", func() bool { c, err := lockfile.Read(d.path); return err == nil && c.Status == lockfile.Starting })
	d.control(t, "status").exactly(t, 0, fmt.Sprintf("pgexthost: server is running (PID: %d)\n", d.holder(t).Pid), "")
}

func TestKill(t *testing.T) {
	for _, s := range killSignals {
		victim := exec.Command("sleep", "600")
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		pgexthost(t, "kill", s.name, fmt.Sprint(victim.Process.Pid)).exactly(t, 0, "", "")
		_ = victim.Wait()
		if got := victim.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal(); got != s.signal {
			t.Errorf("%s: the process ended with %v", s.name, got)
		}
	}
	gone := deadPid(t)
	pgexthost(t, "kill", "TERM", fmt.Sprint(gone)).exactly(t, 1, "", fmt.Sprintf("pgexthost: could not send signal 15 (PID: %d): No such process\n", gone))
	for _, tt := range []struct {
		args []string
		says string
	}{
		{nil, "missing arguments for kill mode"},
		{[]string{"TERM"}, "missing arguments for kill mode"},
		{[]string{"STOP", "1"}, "unrecognized signal name \"STOP\""},
		{[]string{"term", "1"}, "unrecognized signal name \"term\""},
		{[]string{"9", "1"}, "unrecognized signal name \"9\""},
		{[]string{"TERM", "0"}, "invalid process ID \"0\""}, // to kill(2) that is our own process group
		{[]string{"TERM", "--", "-1"}, "invalid process ID \"-1\""},
		{[]string{"TERM", "12x"}, "invalid process ID \"12x\""},
		{[]string{"TERM", "99999999999"}, "invalid process ID \"99999999999\""},
		{[]string{"TERM", "1", "2"}, "too many command-line arguments (first is \"2\")"},
	} {
		r := pgexthost(t, append([]string{"kill"}, tt.args...)...)
		r.exactly(t, 1, "", "pgexthost: error: "+tt.says+"\npgexthost: hint: Try \"pgexthost kill --help\" for more information.\n")
	}
}
