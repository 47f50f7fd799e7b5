package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// ConfigFileName is the configuration file in a data directory.
const ConfigFileName = "pgexthost.conf"

// dataDir is an opened and locked data directory.
type dataDir struct {
	path string
	lock *os.File // the directory itself; children inherit the descriptor and so hold the lock, too
}

// openDataDir checks the directory and takes its lock. The lock belongs to the
// open descriptor: it is free again once the host and all its children are
// gone, however they went.
func openDataDir(path string) (*dataDir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fatal(elog.UndefinedFile, err, "could not determine the absolute path of directory \"%s\": %v", path, err)
	}
	if err := checkDataDir(abs); err != nil {
		return nil, err
	}
	fd, err := unix.Open(abs, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, cannotAccess("directory", abs, err)
	}
	lock := os.NewFile(uintptr(fd), abs)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if isErrno(err, unix.EWOULDBLOCK) {
			return nil, elog.New(elog.Fatal, elog.LockFileExists, "data directory \"%s\" is still in use", abs).
				WithHint("Is another pgexthost running in it? If one has died, wait for its workers to be gone, or end them.")
		}
		return nil, fatal(elog.SystemError, err, "could not lock directory \"%s\": %v", abs, err)
	}
	return &dataDir{path: abs, lock: lock}, nil
}

func (d *dataDir) configFile() string { return filepath.Join(d.path, ConfigFileName) }

func (d *dataDir) close() { _ = d.lock.Close() }

// checkDataDir refuses what "pgexthost init" has not made, and what others
// could tamper with. Mirrors checkDataDir of PostgreSQL.
func checkDataDir(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return cannotAccess("directory", path, err).WithHint("Create it with \"pgexthost init -D %s\".", path)
	}
	if !st.IsDir() {
		return elog.New(elog.Fatal, elog.ObjectNotInPrerequisite, "specified data directory \"%s\" is not a directory", path)
	}
	if owner, ok := ownerOf(st); ok && owner != os.Geteuid() {
		return elog.New(elog.Fatal, elog.ObjectNotInPrerequisite, "data directory \"%s\" has wrong ownership", path).
			WithHint("The host must be started by the user that owns the data directory.")
	}
	if st.Mode().Perm()&0o027 != 0 {
		return elog.New(elog.Fatal, elog.ObjectNotInPrerequisite, "data directory \"%s\" has invalid permissions", path).
			WithDetail("Permissions should be u=rwx (0700) or u=rwx,g=rx (0750).")
	}
	if _, err := os.Stat(filepath.Join(path, ConfigFileName)); err != nil {
		refusal := cannotAccess("host configuration file", filepath.Join(path, ConfigFileName), err)
		if _, err := os.Stat(filepath.Join(path, "PG_VERSION")); err == nil {
			return refusal.WithHint("This is a data directory of PostgreSQL itself. Give the host one of its own: pgexthost init -D DIR.")
		}
		return refusal.WithHint("Create a data directory with \"pgexthost init -D DIR\".")
	}
	return nil
}

func ownerOf(st fs.FileInfo) (int, bool) {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(sys.Uid), true
}

// cannotAccess words an error of the operating system as PostgreSQL does.
func cannotAccess(what, path string, err error) *elog.ErrorData {
	code := elog.UndefinedFile
	if errors.Is(err, fs.ErrPermission) {
		code = elog.InsufficientPrivilege
	}
	return fatal(code, err, "could not access %s \"%s\": %s", what, path, elog.OSReason(err))
}

func fatal(code elog.SQLState, cause error, format string, args ...any) *elog.ErrorData {
	return elog.New(elog.Fatal, code, format, args...).WithCause(cause)
}
