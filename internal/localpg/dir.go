package localpg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// dirPrefix makes our directories recognisable to the sweep. It is short
	// because it is part of the socket's path.
	dirPrefix = "pgexthost-pg-"
	// maxSocketPath is sizeof(sun_path) without the terminating zero.
	maxSocketPath = len(unix.RawSockaddrUnix{}.Path) - 1
	// longestSuffix is what may follow the temporary directory in a socket's
	// path: MkdirTemp appends at most ten digits.
	longestSuffix = "/" + dirPrefix + "4294967295/.s.PGSQL.65535"

	claimAttempts  = 100
	removeDeadline = 5 * time.Second
	removePause    = 10 * time.Millisecond
)

// errNotClaimed: another process holds or has deleted the directory.
var errNotClaimed = errors.New("directory is claimed by another process")

// ownedDir is a directory that this process holds the lock of. The lock is an
// flock on the directory itself: there is no lock file that could be missing,
// and systemd-tmpfiles leaves locked directories alone, however old.
//
// lock is a bare descriptor, not an *os.File: a finalizer must not release the
// lock of a Server that the caller has lost sight of but that still runs.
type ownedDir struct {
	path string
	lock int
}

// tempRoot picks the parent of our directories: explicit if given, else
// os.TempDir, else /tmp.
func tempRoot(explicit string, acct account) (string, error) {
	candidates := []string{os.TempDir(), "/tmp"}
	if explicit != "" {
		candidates = []string{explicit}
	}
	var reason string
	for _, c := range candidates {
		root, err := filepath.Abs(c)
		if err != nil {
			return "", fmt.Errorf("temporary directory %q: %w", c, err)
		}
		if reason = unsuitable(root, acct); reason == "" {
			return root, nil
		}
	}
	return "", &DirError{Dir: candidates[0], Reason: reason}
}

// unsuitable says in a sentence why root cannot hold a server, or "".
func unsuitable(root string, acct account) string {
	if n := len(root) + len(longestSuffix); n > maxSocketPath {
		return fmt.Sprintf("The path of the server's unix socket can get %d bytes long, and the system allows %d.", n, maxSocketPath)
	}
	if strings.Contains(root, ",") {
		return "A comma in the path of a unix socket separates hosts in a connection string."
	}
	fi, err := os.Stat(root)
	if err != nil {
		return fmt.Sprintf("It cannot be examined: %v.", err)
	}
	if !fi.IsDir() {
		return "It is not a directory."
	}
	if blocked := acct.blockedAt(root); blocked != "" {
		return fmt.Sprintf("The server runs as user id %d, which cannot enter \"%s\".", acct.uid, blocked)
	}
	return ""
}

// claimDir makes a new directory under root and locks it. A sweep in another
// process may come between the two steps and delete the directory, which is
// empty then; lockDir notices, and another name is tried. So nothing that is
// in use is ever deleted, without a lock that all processes would share.
func claimDir(root string) (*ownedDir, error) {
	for range claimAttempts {
		path, err := os.MkdirTemp(root, dirPrefix)
		if err != nil {
			return nil, fmt.Errorf("private server directory: %w", err)
		}
		d, err := lockDir(path, uint32(os.Geteuid()))
		if err == nil {
			return d, nil
		}
		_ = os.Remove(path)
		if !errors.Is(err, errNotClaimed) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("private server directory under %q: %w, %d times", root, errNotClaimed, claimAttempts)
}

// Scratch is a temporary directory with the life of a server's: deleted by
// Remove, or by the next Start, Stop or NewScratch of any process once its
// owner is gone.
type Scratch struct{ dir *ownedDir }

// NewScratch makes a directory that only this user can enter.
func NewScratch() (*Scratch, error) {
	sweep(os.TempDir())
	dir, err := claimDir(os.TempDir())
	if err != nil {
		return nil, err
	}
	return &Scratch{dir}, nil
}

// Path returns the absolute path of the directory.
func (s *Scratch) Path() string { return s.dir.path }

// Remove deletes the directory with all that is in it.
func (s *Scratch) Remove() error { return s.dir.remove() }

// lockDir locks the directory at path if it belongs to one of the user ids. It
// never waits; errNotClaimed means that somebody else has it or had it.
func lockDir(path string, uids ...uint32) (*ownedDir, error) {
	fd, err := openRetry(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC)
	if err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil, errNotClaimed
		}
		return nil, fmt.Errorf("open %q: %w", path, err)
	}
	if err := lockFD(fd, path, uids); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &ownedDir{path: path, lock: fd}, nil
}

func lockFD(fd int, path string, uids []uint32) error {
	var opened, named unix.Stat_t
	if err := unix.Fstat(fd, &opened); err != nil {
		return fmt.Errorf("examine %q: %w", path, err)
	}
	// Asked before locking: root could otherwise disturb a stranger's claim.
	if !slices.Contains(uids, opened.Uid) {
		return errNotClaimed
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return errNotClaimed
		}
		return fmt.Errorf("lock %q: %w", path, err)
	}
	// The previous holder may have deleted what we just locked.
	if err := unix.Lstat(path, &named); err != nil || named.Ino != opened.Ino || named.Dev != opened.Dev {
		return errNotClaimed
	}
	return nil
}

func openRetry(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// remove deletes the directory, then gives up the lock. A server whose owner
// was killed may still be on its way out and create a file or two meanwhile,
// so that deleting is tried again for a moment.
func (d *ownedDir) remove() error {
	removeSharedMemory(filepath.Join(d.path, dataName))
	deadline := time.Now().Add(removeDeadline)
	err := os.RemoveAll(d.path)
	for errors.Is(err, unix.ENOTEMPTY) && time.Now().Before(deadline) {
		time.Sleep(removePause)
		err = os.RemoveAll(d.path)
	}
	_ = unix.Close(d.lock)
	return err
}

// sweep deletes the directories under root that belong to us and have lost
// their owner. What cannot be deleted now is left to the next sweep: the
// caller has come for something else.
func sweep(root string) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return
	}
	uids := owners()
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), dirPrefix) {
			continue
		}
		d, err := lockDir(filepath.Join(root, e.Name()), uids...)
		if err != nil {
			continue
		}
		_ = d.remove()
	}
}
