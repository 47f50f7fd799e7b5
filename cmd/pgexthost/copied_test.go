package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// copied is a copy of the regular files of a data directory, beside it.
func (d hostDir) copied(t *testing.T, name string) hostDir {
	t.Helper()
	c := hostDir{filepath.Join(filepath.Dir(d.path), name), d.log + "." + name}
	if err := os.Mkdir(c.path, 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(d.path, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.path, e.Name()), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { endHosts(t, c.path) })
	return c
}

// A backup or a clone of the directory of a host that runs has its lock file.
func TestACopyOfADirectoryHasNothingToDoWithTheHostOfTheOriginal(t *testing.T) {
	d := newHostDir(t)
	p := d.start(t)
	c := d.copied(t, "copy")
	isCopy := fmt.Sprintf("pgexthost: PID file \"%s\" is a copy of that in directory \"%s\", where server process (PID: %d) runs\n",
		filepath.Join(c.path, lockfile.Name), d.path, p.Pid)
	c.control(t, "status").exactly(t, 3, "pgexthost: no server running\n", "")
	for _, command := range []string{"stop", "reload"} {
		c.control(t, command).exactly(t, 1, "", isCopy+"Is server running?\n")
	}
	c.control(t, "ps").want(t, 1, "", "no server running")
	c.control(t, "restart", "-l", c.log).exactly(t, 0, startedText, isCopy+"starting server anyway\n")
	if own := c.holder(t); own.Pid == p.Pid {
		t.Errorf("process %d has two directories", own.Pid)
	}
	c.control(t, "status").want(t, 0, "\"run\" \"-D\" \""+c.path+"\"\n", "")
	c.control(t, "stop").exactly(t, 0, stoppedText, "")
	expectAlive(t, p)
	if strings.Contains(d.logged(t), "received") {
		t.Errorf("it was told something:\n%s", d.logged(t))
	}
	c2 := d.copied(t, "copy2")
	c2.control(t, "start", "-l", c2.log).exactly(t, 0, startedText, "pgexthost: another server might be running; "+anyway)
}

// What a host was started with may lead to the directory that it had then.
func TestRestartStartsAHostWhereItIsTold(t *testing.T) {
	d := newHostDir(t)
	d.start(t, "-o", "-c 'log_line_prefix=kept ' -c max_worker_processes=3").Close()
	d.control(t, "stop").exactly(t, 0, stoppedText, "")
	c := d.copied(t, "copy")
	c.control(t, "restart", "-l", c.log).exactly(t, 0, startedText, c.notRunning()+anyway)
	c.holder(t).Close()
	c.wantLogged(t, "kept LOG:  extension host is ready")
	d.control(t, "status").want(t, 3, "no server running", "")
}

// The directory may have been in the environment of the host.
func TestRestartIsNotMisledByTheEnvironment(t *testing.T) {
	d, other := newHostDir(t), newHostDir(t)
	run := program("run", "-c", "log_line_prefix=kept ")
	run.Env = append(run.Environ(), "PGEXTHOST_DATA="+d.path)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	run.Stderr = w
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { _ = run.Process.Kill(); _ = run.Wait() })
	waitFor(t, r, "extension host is ready")
	d.control(t, "stop").exactly(t, 0, stoppedText, "")
	restart := d.program("restart", "-l", d.log)
	restart.Env = append(restart.Environ(), "PGEXTHOST_DATA="+other.path)
	runToEnd(t, restart).exactly(t, 0, startedText, d.notRunning()+anyway)
	d.wantLogged(t, "kept LOG:  extension host is ready")
	d.holder(t).Close()
	other.control(t, "status").want(t, 3, "no server running", "")
}
