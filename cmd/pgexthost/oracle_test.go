package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// twin is a server and the program that controls it: PostgreSQL's or ours.
type twin struct {
	name    string
	dataDir string
	scratch string // a directory that both may use
	options string // what the server needs to be told when -o replaces the rest
	control func(t *testing.T, args ...string) result
}

// TestTheWordsArePgCtls puts pg_ctl and pgexthost through the same life and
// compares what they say, where they say it, and their exit codes.
func TestTheWordsArePgCtls(t *testing.T) {
	twins := []twin{pgCtlTwin(t), ownTwin(t)}
	said := make([][]string, len(twins))
	for i, w := range twins {
		said[i] = w.live(t)
	}
	for i, want := range said[0] {
		if got := said[1][i]; got != want {
			t.Errorf("we say\n%s\nand pg_ctl says\n%s", got, want)
		}
	}
}

// live goes through all that can happen, and returns what was said.
func (w twin) live(t *testing.T) (said []string) {
	log := filepath.Join(w.scratch, "log")
	say := func(args ...string) {
		r := w.control(t, args...)
		command := strings.ReplaceAll(strings.Join(args, " "), w.options, "OPTIONS")
		said = append(said, w.neutral(fmt.Sprintf("$ %s\nexit code %d\nstdout: %s\nstderr: %s", command, r.code, r.stdout, r.stderr)))
	}
	on := func(dir, command string, args ...string) { say(append([]string{command, "-D", dir}, args...)...) }
	do := func(command string, args ...string) { on(w.dataDir, command, args...) }
	each := func(dir string) {
		for _, command := range []string{"status", "stop", "reload"} {
			on(dir, command)
		}
	}
	each(filepath.Join(w.scratch, "none"))
	each(w.scratch)
	each(w.dataDir)

	do("start", "-l", log, "-o", w.options)
	do("status")
	do("reload")
	do("reload", "-s")
	do("start", "-l", log, "-o", w.options)
	do("restart", "-l", log)
	do("restart", "-s", "-m", "i", "-l", log)
	w.ending(t, func() { do("stop", "-t", "0") })
	each(w.dataDir)
	do("restart", "-l", log)
	_, rest, _ := strings.Cut(w.lockFile(t), "\n")
	remnant := gone + "\n" + rest
	w.ending(t, func() { do("stop", "-m", "smart", "-t", "0") })
	do("start", "-W", "-s", "-l", log, "-o", w.options)
	w.awaitReady(t)
	w.ending(t, func() { do("stop", "-W") })

	w.putLockFile(t, remnant)
	each(w.dataDir)
	do("restart", "-l", log)
	do("stop", "-m", "f")
	w.putLockFile(t, remnant)
	do("start", "-l", log, "-o", w.options)
	do("stop", "-s")
	w.putLockFile(t, "")
	each(w.dataDir) // start and restart differ here: pg_ctl refuses, we know that nobody can be behind it
	w.putLockFile(t, "junk\n")
	each(w.dataDir)
	do("start")
	do("restart")
	for _, s := range killSignals {
		say("kill", s.name, gone)
	}
	return said
}

// gone is a pid that nobody has: the largest. A process that has just ended may
// be a zombie for a while, which pg_ctl takes for alive.
const gone = "4194303"

var (
	pids     = regexp.MustCompile(`PID: \d+`)
	dotsRun  = regexp.MustCompile(`\.{3,}`)
	optsLine = regexp.MustCompile(`(?m)^/.*"-D" .*$`)
)

// neutral is what is left of a text without what must differ.
func (w twin) neutral(text string) string {
	text = strings.NewReplacer(w.dataDir, "DIR", w.scratch, "SCRATCH", "pg_ctl: ", "pgexthost: ",
		"is not a database cluster directory", "is not a data directory of pgexthost").Replace(text)
	text = optsLine.ReplaceAllString(text, "OPTS")
	return pids.ReplaceAllString(dotsRun.ReplaceAllString(text, "..."), "PID: N")
}

func (w twin) lockFile(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dataDir, lockfile.Name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (w twin) putLockFile(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(w.dataDir, lockfile.Name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(w.dataDir)
	if err != nil {
		t.Fatal(err)
	}
	owner := st.Sys().(*syscall.Stat_t)
	if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
}

// ending does what makes the server end, and waits until it has.
func (w twin) ending(t *testing.T, do func()) {
	t.Helper()
	var pid int
	if _, err := fmt.Sscan(w.lockFile(t), &pid); err != nil {
		t.Fatal(err)
	}
	fd, err := openPidfd(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	do()
	if !awaitEnd(fd, limit) {
		t.Errorf("%s: the server does not end", w.name)
	}
}

// awaitReady waits for a server that somebody has started.
func (w twin) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, w.name+": the server is ready", func() bool {
		c, err := lockfile.Read(w.dataDir)
		return err == nil && c.Status.Up()
	})
}

func ownTwin(t *testing.T) twin {
	d := newHostDir(t)
	return twin{
		name: "pgexthost", dataDir: d.path, scratch: t.TempDir(), options: "-c log_min_messages=warning",
		control: func(t *testing.T, args ...string) result { return pgexthost(t, args...) },
	}
}

// pgCtlTwin is the real pg_ctl, which does not run as root, with the data
// directory of a private server.
func pgCtlTwin(t *testing.T) twin {
	scratch := shortTempDir(t)
	server, err := localpg.Start(t.Context(), localpg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	program := filepath.Join(server.Binaries().Dir, "pg_ctl")
	if _, err := os.Stat(program); err != nil {
		t.Skipf("this PostgreSQL comes without pg_ctl: %v", err)
	}
	if err := server.StopServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(server.DataDir())
	if err != nil {
		t.Fatal(err)
	}
	owner := st.Sys().(*syscall.Stat_t)
	if err := os.Chown(scratch, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
	w := twin{
		name: "pg_ctl", dataDir: server.DataDir(), scratch: scratch,
		options: fmt.Sprintf("-k %s -c listen_addresses= -c fsync=off -c shared_buffers=16MB -c dynamic_shared_memory_type=mmap", server.Dir()),
		control: func(t *testing.T, args ...string) result {
			cmd := exec.Command(program, args...)
			cmd.Dir = scratch
			cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH"), "LD_LIBRARY_PATH=" + os.Getenv("LD_LIBRARY_PATH")}
			if os.Geteuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
			}
			return runToEnd(t, cmd)
		},
	}
	t.Cleanup(func() { w.control(t, "stop", "-D", w.dataDir, "-m", "immediate", "-s") })
	return w
}
