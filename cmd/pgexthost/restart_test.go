package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/internal/shellwords"
)

const anyway = "trying to start server anyway\n"

func TestRestartRemembersTheOptions(t *testing.T) {
	d := newHostDir(t)
	old := d.start(t, "-o", "-c 'log_line_prefix=one $ \"two\" '")
	d.control(t, "restart", "-l", d.log).exactly(t, 0, stoppedText+startedText, "")
	if fresh := d.holder(t); fresh.Pid == old.Pid {
		t.Error("it is the same process")
	}
	d.wantLoggedTwice(t, "one $ \"two\" LOG:  extension host is ready")
	d.control(t, "restart", "-s", "-m", "s", "-l", d.log, "-o", "-c 'log_line_prefix=other '").exactly(t, 0, "", "")
	d.wantLogged(t, "LOG:  received smart shutdown request")
	d.wantLogged(t, "other LOG:  extension host is ready")
	d.control(t, "restart", "-W", "-l", d.log).exactly(t, 0, stoppedText+"server starting\n", "")
}

func TestRestartStartsWhatDoesNotRun(t *testing.T) {
	d := newHostDir(t)
	opts := filepath.Join(d.path, lockfile.OptsName)
	d.control(t, "restart", "-l", d.log).exactly(t, 1, "", d.notRunning()+anyway+"pgexthost: could not read file \""+opts+"\": No such file or directory\n")
	d.control(t, "restart", "-l", d.log, "-o", "-c log_line_prefix=first").exactly(t, 0, startedText, d.notRunning()+anyway)
	d.control(t, "stop").exactly(t, 0, stoppedText, "")
	d.control(t, "restart", "-l", d.log).exactly(t, 0, startedText, d.notRunning()+anyway)
	d.wantLoggedTwice(t, "firstLOG:  extension host is ready")
}

// wantLoggedTwice waits, as the host does not wait for its log.
func (d hostDir) wantLoggedTwice(t *testing.T, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the log says %q twice", text), func() bool { return strings.Count(d.logged(t), text) == 2 })
}

func TestRestartReplacesADeadHost(t *testing.T) {
	d := newHostDir(t)
	p := d.start(t)
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, p)
	d.control(t, "restart", "-l", d.log).exactly(t, 0, startedText,
		fmt.Sprintf("pgexthost: old server process (PID: %d) seems to be gone\nstarting server anyway\n", p.Pid))
}

func TestRestartStopsNothingThatItCannotStartAgain(t *testing.T) {
	d := newHostDir(t)
	p := d.start(t)
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"-l", "/nonexistent/log"}, "pgexthost: could not open log file \"/nonexistent/log\": No such file or directory\n"},
		{[]string{"-o", "--fast"}, "pgexthost: error: invalid argument of -o: unknown flag: --fast\n"},
		{[]string{"-o", "'"}, "pgexthost: error: invalid argument of -o: unterminated quoted string\n"},
	} {
		d.control(t, "restart", tt.args...).want(t, 1, "", tt.says)
	}
	opts := filepath.Join(d.path, lockfile.OptsName)
	for text, says := range map[string]string{
		"":                        "option file \"" + opts + "\" must have exactly one command line\n",
		"\"":                      "option file \"" + opts + "\" must have exactly one command line\n",
		"/nonexistent/host \"x\"": "could not execute \"/nonexistent/host\", which the server was started with: No such file or directory\n",
		d.path:                    "could not execute \"" + d.path + "\", which the server was started with: Is a directory\n",
		d.log:                     "could not execute \"" + d.log + "\", which the server was started with: Permission denied\n",
	} {
		if err := os.WriteFile(opts, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d.control(t, "restart").exactly(t, 1, "", "pgexthost: "+says)
	}
	if err := os.Remove(opts); err != nil {
		t.Fatal(err)
	}
	d.control(t, "restart").want(t, 1, "", "could not read file \""+opts+"\"")
	expectAlive(t, p)
	if strings.Contains(d.logged(t), "shutdown request") {
		t.Errorf("it was told to stop:\n%s", d.logged(t))
	}
}

func TestRestartGivesUpOnAHostThatDoesNotStop(t *testing.T) {
	d := newHostDir(t)
	p := d.start(t)
	freeze(t, p)
	d.control(t, "restart", "-t", "1", "-l", d.log).exactly(t, 1, "waiting for server to shut down... failed\n", "pgexthost: server does not shut down\n")
	if pids := hostsIn(d.path); len(pids) != 1 || pids[0] != p.Pid {
		t.Errorf("hosts %d, want %d alone", pids, p.Pid)
	}
}

// startOwnHost runs a host that is another program than pgexthost, with a
// relative path as its only argument.
func (d hostDir) startOwnHost(t *testing.T) (exe string) {
	t.Helper()
	exe = filepath.Join(filepath.Dir(d.path), ownHost)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Link(self, exe); err != nil {
		text, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(exe, text, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { endHosts(t, "data") })
	cmd := program("data")
	cmd.Path, cmd.Dir = exe, filepath.Dir(d.path)
	cmd.Args[0] = exe
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	waitFor(t, r, "extension host is ready")
	return exe
}

func TestRestartRunsAnAuthorsOwnHostAgain(t *testing.T) {
	d := newHostDir(t)
	exe := d.startOwnHost(t)
	d.control(t, "status").want(t, 0, exe+" \"data\"\n", "")
	old := d.holder(t)
	d.control(t, "restart", "-l", d.log).exactly(t, 0, stoppedText+startedText, "")
	fresh := d.holder(t)
	if got, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", fresh.Pid)); err != nil || got != exe || fresh.Pid == old.Pid {
		t.Errorf("process %d runs %s, %v, want %s", fresh.Pid, got, err, exe)
	}
	// Its options are its own: these are no options of pgexthost.
	d.control(t, "restart", "-l", d.log, "-o", shellwords.Quote(d.path)+" now").exactly(t, 0, stoppedText+startedText, "")
	d.control(t, "status").want(t, 0, exe+" \""+d.path+"\" \"now\"\n", "")
}

// Once the host has ended, only the user can know where its relative arguments
// begin: here, if they lead to the data directory.
func TestRestartUnderstandsRelativeArgumentsOfAHostThatHasEnded(t *testing.T) {
	d := newHostDir(t)
	d.startOwnHost(t)
	p := d.holder(t)
	d.control(t, "stop", "-s").exactly(t, 0, "", "")
	expectEnd(t, p)
	cmd := d.program("restart", "-l", d.log)
	cmd.Dir = filepath.Dir(d.path)
	runToEnd(t, cmd).exactly(t, 0, startedText, d.notRunning()+anyway)
	expectAlive(t, d.holder(t))
	if got, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", d.holder(t).Pid)); err != nil || got != cmd.Dir {
		t.Errorf("it runs in %s, %v, want %s", got, err, cmd.Dir)
	}
}

func TestRestartRefusesWhenAnAuthorsProgramIsGone(t *testing.T) {
	d := newHostDir(t)
	exe := d.startOwnHost(t)
	if err := os.Remove(exe); err != nil {
		t.Fatal(err)
	}
	d.control(t, "restart").exactly(t, 1, "", "pgexthost: could not execute \""+exe+"\", which the server was started with: No such file or directory\n")
	expectAlive(t, d.holder(t))
}
