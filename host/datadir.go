package host

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// ConfigFileName is the configuration file in a data directory.
const ConfigFileName = settings.ConfigFileName

// dataDir is an opened data directory.
type dataDir struct {
	path     string
	lock     *os.File       // the directory itself; children inherit the descriptor and so hold the lock, too
	lockFile *lockfile.File // nil until it has been made
}

// openDataDir checks a directory and opens it.
func openDataDir(path string) (*dataDir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fatal(elog.UndefinedFile, err, "could not determine the absolute path of directory \"%s\": %v", path, err)
	}
	if err := CheckDataDir(abs); err != nil {
		return nil, err
	}
	fd, err := unix.Open(abs, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, cannotAccess("directory", abs, err)
	}
	return &dataDir{path: abs, lock: os.NewFile(uintptr(fd), abs)}, nil
}

func (d *dataDir) configFile() string { return filepath.Join(d.path, ConfigFileName) }

// setUmask makes files that the host and its children create as private as the
// directory is. Mirrors the umask that PostmasterMain sets.
func (d *dataDir) setUmask() {
	mask := 0o077
	if st, err := os.Stat(d.path); err == nil && st.Mode().Perm()&0o050 == 0o050 {
		mask = 0o027
	}
	_ = unix.Umask(mask)
}

// isOurs reports whether the path of the directory still leads to what this host
// has locked. The directory may have been moved, and another host may have one
// of its own in its place. Before the host has the lock nothing is its own.
func (d *dataDir) isOurs() bool {
	own, err := d.lock.Stat()
	if err != nil || d.lockFile == nil {
		return false
	}
	st, err := os.Stat(d.path)
	return err == nil && os.SameFile(own, st)
}

// removeRemnants takes away what a host leaves that is killed, save for what
// its successor replaces anyway.
func (d *dataDir) removeRemnants() {
	for _, name := range []string{settingsFileName, settingsFileName + ".tmp", control.LibrariesFileName, control.LibrariesFileName + ".tmp", lockfile.OptsName + ".tmp", lockfile.Name + ".tmp"} {
		_ = os.Remove(filepath.Join(d.path, name))
	}
}

func (d *dataDir) close() {
	if d.lockFile != nil {
		d.lockFile.Remove() // while the lock still keeps others from making theirs
		failpoint.Here(failpoint.LockFileRemoved)
	}
	_ = d.lock.Close()
}

// CheckDataDir refuses a directory that "pgexthost init" has not made, one that
// others could tamper with, and one with a path too long for the sockets in it or
// with a newline in it.
// The error is an *elog.ErrorData of level FATAL. Mirrors checkDataDir of
// PostgreSQL.
func CheckDataDir(path string) error {
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
	return checkPath(path)
}

// checkPath refuses a path that the lock file can't tell, since its lines are
// all it has, and one that leaves no room for sockets.
func checkPath(dir string) error {
	if strings.Contains(dir, "\n") {
		return elog.New(elog.Fatal, elog.InvalidName, "path of data directory \"%s\" contains a newline", dir)
	}
	return checkSocketPath(dir)
}

// longestSocket is the longest name of a socket that is made in a data
// directory unless the settings say otherwise, and maxSocketPath what fits
// sun_path.
const (
	longestSocket = ".s.PGSQL.65535"
	maxSocketPath = len(unix.RawSockaddrUnix{}.Path) - 1
)

// checkSocketPath refuses a directory in which no socket could be made, before
// somebody has filled it with settings.
func checkSocketPath(dir string) error {
	if path := filepath.Join(dir, longestSocket); len(path) > maxSocketPath {
		return elog.New(elog.Fatal, elog.ProgramLimitExceeded, "Unix-domain socket path \"%s\" is too long (maximum %d bytes)", path, maxSocketPath).
			WithHint("Use a data directory with a path of at most %d bytes, for instance a symbolic link to it.", maxSocketPath-len(longestSocket)-1)
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
	return fatal(elog.FileAccessCode(err), err, "could not access %s \"%s\": %s", what, path, elog.OSReason(err))
}

func fatal(code elog.SQLState, cause error, format string, args ...any) *elog.ErrorData {
	return elog.New(elog.Fatal, code, format, args...).WithCause(cause)
}
