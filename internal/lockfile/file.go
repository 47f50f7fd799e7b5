package lockfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// File is the lock file of this process. One goroutine owns it.
type File struct {
	path     string
	contents Contents
}

// maxTries is how often Create looks again at a file that comes and goes.
const maxTries = 100

// Create makes the lock file of a data directory, an absolute path, with the
// status starting. The caller holds the lock of the directory, so a file that
// is there already is a remnant, unless the process it names lives after all:
// then, or if the file can't be written, the error is an *elog.ErrorData of
// level FATAL. Mirrors CreateLockFile.
func Create(dir string) (*File, error) {
	f := &File{path: filepath.Join(dir, Name), contents: Contents{
		Pid: os.Getpid(), DataDir: dir, Started: time.Now(), Status: Starting, identity: ownIdentity(),
	}}
	for tries := 1; ; tries++ {
		err := f.make(dir)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrExist) || tries == maxTries {
			return nil, err
		}
		if err := f.clear(dir); err != nil {
			return nil, err
		}
	}
}

// clear removes a lock file whose writer is gone.
func (f *File) clear(dir string) error {
	other, err := Read(dir)
	switch {
	case isMissing(err):
		return nil
	case errors.Is(err, ErrEmpty): // whoever would fill it holds the lock, and that is us
	case err != nil:
		return elog.AsErrorData(err, elog.Fatal).
			WithHint("This is no lock file that a host has left. If you don't need it, remove the file by hand and try again.")
	default:
		if err := f.mustBeGone(other); err != nil {
			return err
		}
	}
	if err := os.Remove(f.path); err != nil && !isMissing(err) {
		return fatal(elog.FileAccessCode(err), err, "could not remove old lock file \"%s\": %s", f.path, elog.OSReason(err)).
			WithHint("The file seems accidentally left over, but it could not be removed. Please remove the file by hand and try again.")
	}
	return nil
}

// mustBeGone refuses to go on beside a live postmaster. Our own pid, and those
// of the shells and start programs above us, are what the kernel has given out
// again, for instance in a container that was restarted.
func (f *File) mustBeGone(other Contents) error {
	if slices.Contains(ancestors(), other.Pid) {
		return nil
	}
	p, err := other.Holder()
	switch {
	case errors.Is(err, ErrGone):
		return nil
	case err == nil:
		p.Close()
		return AlreadyExists(filepath.Dir(f.path), other.Pid)
	case other.isElsewhere(): // and the lock that it sees taken is ours
		return nil
	}
	return elog.AsErrorData(err, elog.Fatal)
}

// AlreadyExists is the FATAL error, with SQLSTATE F0001, about a directory in
// which another postmaster runs.
func AlreadyExists(dir string, pid int) *elog.ErrorData {
	return elog.New(elog.Fatal, elog.LockFileExists, "lock file \"%s\" already exists", filepath.Join(dir, Name)).
		WithHint("Is another postmaster (PID %d) running in data directory \"%s\"?", pid, dir)
}

// ancestors returns the pids of this process, its parent and its grandparent.
func ancestors() []int {
	pids := []int{os.Getpid(), os.Getppid()}
	var grandparent int
	if parent, err := lookAt(os.Getppid()); err == nil {
		grandparent = parent.parent
	}
	return append(pids, grandparent)
}

// make makes the file, if there is none. It appears with all that it says, so
// that nobody finds it empty, not even if we are killed at the wrong moment.
func (f *File) make(dir string) error {
	err := makeWhole(dir, f.path, f.contents.String())
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return f.makeInPlace() // not every file system can do that
}

// makeInPlace makes a file as PostgreSQL does.
func (f *File) makeInPlace() error {
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fatal(elog.FileAccessCode(err), err, "could not create lock file \"%s\": %s", f.path, elog.OSReason(err))
	}
	if err := errors.Join(writeDurably(file, f.contents.String()), file.Close()); err != nil {
		_ = os.Remove(f.path)
		return fatal(elog.FileAccessCode(err), err, "could not write lock file \"%s\": %s", f.path, elog.OSReason(err))
	}
	return nil
}

func writeDurably(file *os.File, text string) error {
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	return file.Sync()
}

// SetStatus changes the status line. The error, an *elog.ErrorData of level LOG,
// means that the file was left as it was. Mirrors AddToDataDirLockFile.
func (f *File) SetStatus(s Status) error {
	f.contents.Status = s
	if valid, problem := f.Recheck(); !valid {
		return problem
	}
	file, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return logged(err, "could not open file \"%s\": %s", f.path, elog.OSReason(err))
	}
	defer file.Close()
	// In place, and never longer than before: a full disk can't hurt.
	if _, err := file.WriteAt([]byte(f.contents.String()), 0); err != nil {
		return logged(err, "could not write to file \"%s\": %s", f.path, elog.OSReason(err))
	}
	return nil
}

// SetAddresses says where the host listens: the port, the first directory of unix
// sockets and the first address, which may be empty. Another file takes the place of
// the one before, as this one can be longer than what a full disk takes. Mirrors
// what AddToDataDirLockFile is called for.
func (f *File) SetAddresses(port int, socketDir, listenAddress string) error {
	f.contents.Port, f.contents.SocketDir, f.contents.ListenAddress = port, socketDir, listenAddress
	if valid, problem := f.Recheck(); !valid {
		return problem
	}
	if err := ReplaceFile(f.path, []byte(f.contents.String())); err != nil {
		return logged(err, "could not write to file \"%s\": %s", f.path, elog.OSReason(err))
	}
	return nil
}

// Recheck reports whether the file is still there and ours, and what there is
// to log about it, or nil. When in doubt it is. Mirrors RecheckDataDirLockFile.
func (f *File) Recheck() (valid bool, problem *elog.ErrorData) {
	text, err := readFile(f.path)
	switch {
	case isMissing(err):
		return false, logged(err, "could not open file \"%s\": %s", f.path, elog.OSReason(err))
	case err != nil:
		return true, logged(err, "could not open file \"%s\": %s; continuing anyway", f.path, elog.OSReason(err))
	}
	c, _ := parse(string(text))
	if c.Pid != f.contents.Pid {
		return false, elog.New(elog.Log, "", "lock file \"%s\" contains wrong PID: %d instead of %d", f.path, c.Pid, f.contents.Pid)
	}
	return true, nil
}

// Remove takes the file away, unless it is another's by now.
func (f *File) Remove() {
	if valid, _ := f.Recheck(); valid {
		_ = os.Remove(f.path)
	}
}

func fatal(code elog.SQLState, cause error, format string, args ...any) *elog.ErrorData {
	return elog.New(elog.Fatal, code, format, args...).WithCause(cause)
}

func logged(cause error, format string, args ...any) *elog.ErrorData {
	return elog.New(elog.Log, elog.FileAccessCode(cause), format, args...).WithCause(cause)
}
