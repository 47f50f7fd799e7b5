package lockfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Name is the name of the lock file in a data directory.
const Name = "postmaster.pid"

// Status is the last line of a lock file. Mirrors PM_STATUS_*.
type Status string

// The statuses.
const (
	Starting Status = "starting"
	Ready    Status = "ready"
	Standby  Status = "standby" // ready, and the real server is a standby
	Stopping Status = "stopping"
)

// Up reports whether the host has finished its start and does not stop yet.
func (s Status) Up() bool { return s == Ready || s == Standby }

// Contents is what a lock file says.
type Contents struct {
	Pid           int
	DataDir       string
	Started       time.Time // whole seconds
	Port          int       // 0: the host listens on none
	SocketDir     string
	ListenAddress string
	Status        Status // empty in a file that another program wrote

	identity identity
	readIn   string // the directory it was read in, which can have another path elsewhere; empty: DataDir
}

// readFile reads the beginning of a file. What is no file of text, such as a
// named pipe, which nobody may ever write to, is an error.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && !st.Mode().IsRegular() && !st.IsDir() { // reading a directory says what it is
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is not a regular file")}
	}
	return io.ReadAll(io.LimitReader(f, maxSize))
}

// maxSize bounds what is read: the longest path there is, twice, and some.
const maxSize = 16 << 10

// Read reads the lock file of a data directory. It returns an error that is
// fs.ErrNotExist if there is none, and an *elog.ErrorData of level ERROR if it
// can't be read or does not begin with a pid: its cause is [ErrEmpty] if it
// holds nothing. Lines after the first may be missing. Mirrors get_pgpid of pg_ctl.
func Read(dir string) (Contents, error) {
	path := filepath.Join(dir, Name)
	text, err := readFile(path)
	if err != nil {
		return Contents{}, elog.New(elog.Error, elog.FileAccessCode(err), "could not open PID file \"%s\": %s", path, elog.OSReason(err)).WithCause(err)
	}
	c, err := parse(string(text))
	c.readIn = dir
	switch {
	case errors.Is(err, ErrEmpty):
		return Contents{}, elog.New(elog.Error, elog.InternalError, "the PID file \"%s\" is empty", path).WithCause(err)
	case err != nil:
		return Contents{}, elog.New(elog.Error, elog.InternalError, "invalid data in PID file \"%s\"", path).WithCause(err)
	}
	return c, nil
}

// ErrEmpty says that a file holds nothing, or only the zeros that some file
// systems leave after a loss of power.
var ErrEmpty = errors.New("the file is empty")

func parse(text string) (Contents, error) {
	if strings.Trim(text, "\x00") == "" {
		return Contents{}, ErrEmpty
	}
	lines := append(strings.Split(text, "\n"), make([]string, 8)...)
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 0 || pid > maxPid {
		return Contents{}, fmt.Errorf("%q is no process id", lines[0])
	}
	c := Contents{Pid: pid, DataDir: lines[1], SocketDir: lines[4], ListenAddress: lines[5], Status: Status(strings.TrimSpace(lines[7]))}
	if seconds, err := strconv.ParseInt(strings.TrimSpace(lines[2]), 10, 64); err == nil && seconds > 0 {
		c.Started = time.Unix(seconds, 0)
	}
	c.Port, _ = strconv.Atoi(strings.TrimSpace(lines[3]))
	c.identity = parseIdentity(lines[6])
	return c, nil
}

// maxPid is the kernel's PID_MAX_LIMIT.
const maxPid = 4 << 20

// String returns the text of the file.
func (c Contents) String() string {
	return fmt.Sprintf("%d\n%s\n%d\n%d\n%s\n%s\n%s\n%-8s\n",
		c.Pid, c.DataDir, c.Started.Unix(), c.Port, c.SocketDir, c.ListenAddress, c.identity, c.Status)
}

// isMissing reports whether a file, or a directory above it, is not there.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) || isNotDir(err) }
