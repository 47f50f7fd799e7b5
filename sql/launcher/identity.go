package launcher

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// identityFile is where a data directory keeps the name of its host.
const identityFile = "pgexthost.host_id"

// hostIdentity returns the UUID of the host whose data directory this is. It is
// made once. A copy of the directory is another host's, since both may run; it is
// told by the inodes of the file and of the directory.
func hostIdentity(dir string) (string, error) {
	path := dir + "/" + identityFile
	id, err := readIdentity(dir, path)
	if err == nil && id == "" || errors.Is(err, fs.ErrNotExist) {
		id, err = makeIdentity(dir, path)
	}
	if err != nil {
		return "", elog.New(elog.Fatal, elog.FileAccessCode(err), "could not read or make file \"%s\": %s", path, elog.OSReason(err)).WithCause(err)
	}
	return id, nil
}

// readIdentity returns "" if the file is a copy, or was damaged.
func readIdentity(dir, path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	place, err := placeOf(dir, path)
	if err != nil {
		return "", err
	}
	var id string
	if _, err := fmt.Sscanf(string(text), "%36s "+place+"\n", &id); err != nil || len(id) != 36 {
		return "", nil
	}
	return id, nil
}

func makeIdentity(dir, path string) (string, error) {
	next := path + ".new"
	file, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	defer file.Close()
	place, err := placeOf(dir, next)
	if err != nil {
		return "", err
	}
	id := newUUID()
	if _, err := fmt.Fprintf(file, "%s %s\n", id, place); err != nil {
		return "", err
	}
	if err := file.Sync(); err != nil {
		return "", err
	}
	failpoint.Here(failpoint.IdentityWritten)
	if err := os.Rename(next, path); err != nil {
		return "", err
	}
	failpoint.Here(failpoint.IdentityMade)
	d, err := os.Open(dir)
	if err != nil {
		return "", err
	}
	defer d.Close()
	return id, d.Sync()
}

// placeOf is what tells a directory from a copy of it.
func placeOf(dir, path string) (string, error) {
	var d, f unix.Stat_t
	if err := unix.Stat(dir, &d); err != nil {
		return "", os.NewSyscallError("stat", err)
	}
	if err := unix.Stat(path, &f); err != nil {
		return "", os.NewSyscallError("stat", err)
	}
	return fmt.Sprintf("%d %d", d.Ino, f.Ino), nil
}

// newUUID returns a random UUID (version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
