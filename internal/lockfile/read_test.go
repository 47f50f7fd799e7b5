//go:build linux

package lockfile

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestReadNeverHangsNorSwallowsAFileThatIsNone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, Name)
	for name, place := range map[string]func() error{
		"a pipe nobody writes to": func() error { return unix.Mkfifo(path, 0o600) },
		"a file without an end":   func() error { return os.Symlink("/dev/zero", path) },
	} {
		if err := place(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err := Read(dir)
		expectReport(t, err, elog.Error, elog.InternalError, "could not open PID file \""+path+"\": it is not a regular file", "")
		if _, err := Create(dir); err == nil {
			t.Errorf("%s was replaced", name)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadLooksAtTheBeginningOnly(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "12\n")
	if err := os.Truncate(filepath.Join(dir, Name), 1<<40); err != nil {
		t.Skip(err) // no file system for such files
	}
	if c, err := Read(dir); err != nil || c.Pid != 12 {
		t.Errorf("got %+v, %v", c, err)
	}
}
