package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/lockfile"
)

func TestRestartStopsNoHostWhoseDirectoryWouldBeRefused(t *testing.T) {
	d := newHostDir(t)
	p := d.start(t)
	if err := os.Chmod(d.path, 0o755); err != nil {
		t.Fatal(err)
	}
	d.control(t, "restart", "-l", d.log).exactly(t, 1, "", "pgexthost: data directory \""+d.path+"\" has invalid permissions\n"+
		"Permissions should be u=rwx (0700) or u=rwx,g=rx (0750).\n")
	expectAlive(t, p)
	if strings.Contains(d.logged(t), "shutdown request") {
		t.Errorf("it was told to stop:\n%s", d.logged(t))
	}
}

func TestAnEmptyLockFileKeepsNoHostFromStarting(t *testing.T) {
	d := newHostDir(t)
	pidFile := filepath.Join(d.path, lockfile.Name)
	leave := func() {
		if err := os.WriteFile(pidFile, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	d.control(t, "start", "-l", d.log).exactly(t, 0, startedText, "pgexthost: another server might be running; "+anyway)
	d.control(t, "stop").exactly(t, 0, stoppedText, "")
	leave()
	d.control(t, "restart", "-l", d.log).exactly(t, 0, startedText, "pgexthost: the PID file \""+pidFile+"\" is empty\n"+anyway)
	d.control(t, "stop").exactly(t, 0, stoppedText, "")
}
