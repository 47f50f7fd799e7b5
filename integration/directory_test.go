//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// The orphans of a killed host are gone within a second. So long a host waits.
func TestAHostWaitsForTheLastOrphan(t *testing.T) {
	t.Parallel()
	h, pid := killedWithAnOrphan(t)
	second := startHost(t, inDir(h.dir))
	second.waitLog(`LOG:  data directory ".*" is still in use, waiting for it to be released$`)
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	second.waitStatus(lockfile.Ready)
	second.stop()
}

// The pid of a host in a container means nothing here, and its directory may
// have another path there. What tells of it is its lock.
func TestAHostInAContainerKeepsItsDirectory(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t, "")
	lock, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	const namespace = 1 // nobody's
	file := filepath.Join(dir, lockfile.Name)
	write(t, file, fmt.Sprintf("7\n/path/in/its/container\n%d\n0\n\n\n        1 %d\nready   \n", time.Now().Unix(), namespace))
	h := startHost(t, inDir(dir))
	if code := h.awaitExit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	h.waitLog(`FATAL:  lock file ".*" already exists$`)
	h.waitLog(fmt.Sprintf(`HINT:  Is another postmaster \(PID 7\) running in data directory "%s"\?$`, dir))
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again := startHost(t, inDir(dir))
	again.waitStatus(lockfile.Ready)
	again.stop()
}

// A postmaster runs in its data directory; relative names begin there.
func TestARelativeExternalPidFileIsInTheDataDirectory(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("external_pid_file=host.pid"))
	h.waitStatus(lockfile.Ready)
	path := filepath.Join(h.dir, "host.pid")
	if text, err := os.ReadFile(path); err != nil || string(text) != fmt.Sprintln(h.pid()) {
		t.Errorf("%q, %v", text, err)
	}
	h.stop()
	if exists(path) {
		t.Error("it is left")
	}
}
