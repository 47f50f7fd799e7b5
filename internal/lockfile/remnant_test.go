//go:build linux

package lockfile

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestARemnantThatCannotBeRemovedIsReported(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "")
	file := filepath.Join(dir, Name)
	if err := unix.Mount(file, file, "", unix.MS_BIND, ""); err != nil {
		t.Skip("this machine lets us make nothing that can't be removed: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(file, unix.MNT_DETACH) })
	_, err := Create(dir)
	expectReport(t, err, elog.Fatal, elog.InternalError, "could not remove old lock file \""+file+"\": Device or resource busy",
		"The file seems accidentally left over, but it could not be removed. Please remove the file by hand and try again.")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left are %v, %v", entries, err)
	}
}
