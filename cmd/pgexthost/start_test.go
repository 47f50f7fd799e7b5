package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/lockfile"
)

func TestStartRunsTheHostAsADaemon(t *testing.T) {
	d := newHostDir(t)
	p := d.start(t)
	if sid, err := unix.Getsid(p.Pid); err != nil || sid != p.Pid {
		t.Errorf("it is in session %d, %v, and not in one of its own, %d", sid, err, p.Pid)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))
	if terminal := fields[5]; terminal != "0" {
		t.Errorf("it has the terminal %s", terminal)
	}
	for name, want := range map[string]string{"cwd": d.path, "fd/0": "/dev/null", "fd/1": d.log, "fd/2": d.log} {
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", p.Pid, name)); err != nil || got != want {
			t.Errorf("%s is %s, %v, want %s", name, got, err, want)
		}
	}
	if st, err := os.Stat(d.log); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the log has mode %v, %v", st.Mode(), err)
	}
	d.wantLogged(t, "LOG:  extension host is ready")
	d.control(t, "stop").exactly(t, 0, stoppedText, "")
}

func TestStartAppendsToALogThatIsRelativeToWhereItRuns(t *testing.T) {
	d := newHostDir(t)
	if err := os.WriteFile(d.log, []byte("old\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	cmd := d.program("start", "-l", filepath.Base(d.log))
	cmd.Dir = filepath.Dir(d.log)
	runToEnd(t, cmd).exactly(t, 0, startedText, "")
	d.wantLogged(t, "extension host is ready")
	if log := d.logged(t); !strings.HasPrefix(log, "old\n") {
		t.Errorf("the log is\n%s", log)
	}
}

func TestTheDataDirectoryMayBeRelative(t *testing.T) {
	d := newHostDir(t)
	cmd := program("start", "-D", "./data/", "-l", d.log)
	cmd.Dir = filepath.Dir(d.path)
	runToEnd(t, cmd).exactly(t, 0, startedText, "")
	d.control(t, "status").want(t, 0, "\"run\" \"-D\" \""+d.path+"\"", "")
}

func TestAHostIsKnownByTheNameThatItWasStartedBy(t *testing.T) {
	d := newHostDir(t)
	link := filepath.Join(filepath.Dir(d.path), "current")
	if err := os.Symlink(os.Args[0], link); err != nil {
		t.Fatal(err)
	}
	cmd := d.program("start", "-l", d.log)
	cmd.Path, cmd.Args[0] = link, "current"
	cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(link))
	runToEnd(t, cmd).exactly(t, 0, startedText, "")
	d.control(t, "status").want(t, 0, "\n"+link+" \"run\"", "") // a new version may stand there by the next restart

	d.control(t, "stop").exactly(t, 0, stoppedText, "")
	other := d.program("start", "-l", d.log)
	other.Args[0] = "sh" // a program of that name is not this one
	runToEnd(t, other).exactly(t, 0, startedText, "")
	d.control(t, "status").want(t, 0, " \"run\"", "")
}

func TestWithoutALogTheHostWritesWhereStartDoes(t *testing.T) {
	d := newHostDir(t)
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := d.program("start")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	d.wantLogged(t, "server started\n")
	d.wantLogged(t, "LOG:  extension host is ready")
}

func TestTheLastOfWaitAndNoWaitCounts(t *testing.T) {
	d := newHostDir(t)
	stuck := "-c shared_preload_libraries=" + stuckLibrary
	d.control(t, "start", "-l", d.log, "-w", "-W", "-o", stuck).exactly(t, 0, "server starting\n", "")
	endHosts(t, d.path)
	d.control(t, "start", "-l", d.log, "--no-wait", "--wait", "-t", "0", "-o", stuck).want(t, 1, "waiting for server to start", "pgexthost: ")
}

func TestASilentStartSaysNothing(t *testing.T) {
	d := newHostDir(t)
	d.control(t, "start", "-s", "-l", d.log).exactly(t, 0, "", "")
	d.control(t, "status").want(t, 0, "server is running", "")
}

const examine = "pgexthost: could not start server\nExamine the log output.\n"

func TestStartTellsAtOnceThatTheHostHasFailed(t *testing.T) {
	d := newHostDir(t)
	if err := os.WriteFile(filepath.Join(d.path, "pgexthost.conf"), []byte("max_worker_processes = many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const gaveUp = "waiting for server to start... stopped waiting\n"
	d.control(t, "start", "-t", "600", "-l", d.log).exactly(t, 1, gaveUp, examine)
	d.control(t, "start", "-s", "-t", "600", "-l", d.log).exactly(t, 1, "", examine)
	d.wantLogged(t, "FATAL:  configuration file")
}

func TestASecondHostIsRefused(t *testing.T) {
	d := newHostDir(t)
	p := d.start(t)
	d.control(t, "start", "-l", d.log).exactly(t, 1, "waiting for server to start... stopped waiting\n",
		"pgexthost: another server might be running; trying to start server anyway\n"+examine)
	d.wantLogged(t, "FATAL:  lock file \""+d.path+"/postmaster.pid\" already exists")
	expectAlive(t, p)
	if again := d.holder(t); again.Pid != p.Pid {
		t.Errorf("the lock file has pid %d, want %d", again.Pid, p.Pid)
	}
}

func TestStartReplacesAStaleLockFile(t *testing.T) {
	d := newHostDir(t)
	d.writeLockFile(t, deadPid(t))
	d.control(t, "start", "-l", d.log).exactly(t, 0, startedText, "pgexthost: another server might be running; trying to start server anyway\n")
	expectAlive(t, d.holder(t))
}

// The file that a killed host has left can name the pid that the new one gets.
func TestAnOlderHostsFileDoesNotMakeTheNewOneReady(t *testing.T) {
	d := newHostDir(t)
	c := &controller{dir: d.path}
	d.writeLockFile(t, sleeper(t).Process.Pid) // ready an hour ago
	contents, err := lockfile.Read(d.path)
	if err != nil {
		t.Fatal(err)
	}
	if c.isReady(contents.Pid) {
		t.Error("it is said to be ready")
	}
	d.control(t, "restart", "-s", "-o", "", "-l", d.log).want(t, 0, "", "seems to be gone")
	p := d.holder(t)
	if !c.isReady(p.Pid) || c.isReady(p.Pid+1) {
		t.Errorf("ready are %d: %v, %d: %v", p.Pid, c.isReady(p.Pid), p.Pid+1, c.isReady(p.Pid+1))
	}
}

func TestStartGivesUpAfterItsTimeAndLeavesTheHostAlone(t *testing.T) {
	d := newHostDir(t)
	stuck := "-c shared_preload_libraries=" + stuckLibrary
	r := d.control(t, "start", "-t", "2", "-l", d.log, "-o", stuck)
	r.exactly(t, 1, "waiting for server to start... stopped waiting\n", "pgexthost: server did not start in time\n")
	r.want(t, 1, "waiting for server to start..... stopped waiting\n", "pgexthost") // a dot each second
	p := d.holder(t)
	expectAlive(t, p)
	d.control(t, "stop").exactly(t, 0, stoppedText, "")
}

// Of -t and PGCTLTIMEOUT the first counts, as with pg_ctl, and without both it is
// a minute.
func TestHowLongIsWaited(t *testing.T) {
	for _, tt := range []struct {
		env  string
		args []string
		want uint32
	}{
		{"", nil, 60},
		{"7", nil, 7},
		{"0", nil, 0},
		{"7", []string{"-t", "9"}, 9},
		{"soon", []string{"-t", "9"}, 9}, // nobody asks
	} {
		t.Setenv("PGCTLTIMEOUT", tt.env)
		if tt.env == "" {
			if err := os.Unsetenv("PGCTLTIMEOUT"); err != nil {
				t.Fatal(err)
			}
		}
		c := newControl("stop", "", "")
		c.addWait()
		_ = c.parse(append(tt.args, "-D", "/nonexistent")) // refused, but only after the options
		if c.seconds != tt.want {
			t.Errorf("PGCTLTIMEOUT=%s %q: %d s, want %d", tt.env, tt.args, c.seconds, tt.want)
		}
	}
}

func TestAnInterruptedStartStopsTheHost(t *testing.T) {
	d := newHostDir(t)
	cmd := d.program("start", "-l", d.log, "-t", "600", "-o", "-c shared_preload_libraries="+stuckLibrary)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var host []int
	r := watchOutput(t, cmd, "waiting for server to start...", func() {
		host = hostsIn(d.path)
		if err := cmd.Process.Signal(unix.SIGINT); err != nil {
			t.Error(err)
		}
	})
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != unix.SIGINT {
		t.Errorf("start ended with %v", cmd.ProcessState)
	}
	r.exactly(t, -1, "waiting for server to start...", "")
	if len(host) != 1 {
		t.Fatalf("the hosts were %d", host)
	}
	if fd, err := openPidfd(host[0]); err == nil && !awaitEnd(fd, limit) {
		t.Error("the host goes on")
	} else if err != nil && !errors.Is(err, unix.ESRCH) {
		t.Error(err)
	}
}

func TestStartRefusesWhatCannotWorkBeforeAnythingRuns(t *testing.T) {
	d := newHostDir(t)
	const hint = "pgexthost: hint: Try \"pgexthost run --help\" for the options of the host.\n"
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"-l", "/nonexistent/log"}, "pgexthost: could not open log file \"/nonexistent/log\": No such file or directory\n"},
		{[]string{"-l", d.path}, "pgexthost: could not open log file \"" + d.path + "\": Is a directory\n"},
		{[]string{"-o", "-c 'x"}, "pgexthost: error: invalid argument of -o: unterminated quoted string\npgexthost: detail: The options are: -c 'x\n"},
		{[]string{"-o", "-c", "-o", `'a=b'\`}, "pgexthost: error: invalid argument of -o: nothing follows the backslash at the end\n" +
			"pgexthost: detail: The options are: -c 'a=b'\\\n"},
		{[]string{"-o", "--fast"}, "pgexthost: error: invalid argument of -o: unknown flag: --fast\n" + hint},
		{[]string{"-o", "-c"}, "pgexthost: error: invalid argument of -o: flag needs an argument: 'c' in -c\n" + hint},
		{[]string{"-o", "-D /tmp"}, "pgexthost: error: invalid argument of -o: -D is no option to pass on\n" + hint},
		{[]string{"-o", "-?"}, "pgexthost: error: invalid argument of -o: --help does not start a host\n" + hint},
		{[]string{"-o", "-h"}, "pgexthost: error: invalid argument of -o: --help does not start a host\n" + hint},
		{[]string{"-o", "now"}, "pgexthost: error: invalid argument of -o: too many command-line arguments (first is \"now\")\n" + hint},
		{[]string{"-o", "-c nothing"}, "pgexthost: error: -c nothing requires a value\n"},
		{[]string{"-o", "-c max_worker_processes=many"}, "pgexthost: error: invalid value for parameter \"max_worker_processes\": \"many\"\n"},
		{[]string{"-t", "-1"}, "pgexthost: error: invalid argument \"-1\" of --timeout: not a number of 0 or more"},
		{[]string{"-t", "soon"}, "pgexthost: error: invalid argument \"soon\" of --timeout: not a number of 0 or more"},
		{[]string{"--wait=maybe"}, "pgexthost: error: invalid argument \"maybe\" of --wait: not true or false"},
	} {
		r := d.control(t, "start", append([]string{"-l", d.log}, tt.args...)...)
		r.want(t, 1, "", tt.says)
		if !strings.HasPrefix(r.stderr, tt.says) {
			t.Errorf("it says %q", r.stderr)
		}
	}
	cmd := d.program("start", "-l", d.log)
	cmd.Env = append(cmd.Env, "PGCTLTIMEOUT=soon")
	runToEnd(t, cmd).exactly(t, 1, "", "pgexthost: error: invalid value for environment variable \"PGCTLTIMEOUT\": \"soon\"\n"+
		"pgexthost: hint: Try \"pgexthost start --help\" for more information.\n")
	for _, name := range []string{d.log, filepath.Join(d.path, lockfile.OptsName)} {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("there is %s", name)
		}
	}
}

func TestOptionsReachTheHost(t *testing.T) {
	d := newHostDir(t)
	d.start(t, "-o", `-c log_min_messages=debug1 -c "log_line_prefix=%p it's `, "-o", `me "`)
	d.wantLogged(t, " it's  me LOG:  extension host is ready")
}

// hostsIn returns the processes of "pgexthost run" in a directory.
func hostsIn(dir string) []int {
	var hosts []int
	for _, pid := range programsWith(dir) {
		line, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if strings.Contains(string(line), "\x00run\x00") {
			hosts = append(hosts, pid)
		}
	}
	return hosts
}
