package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Whoever asks for the lock of a directory waits a little while for the last
// child of a host that was killed: children notice that within a second.
const (
	orphanGrace = 5 * time.Second
	lockRetry   = 20 * time.Millisecond
)

// lockDirectory takes the lock of the data directory and makes the lock file.
// The lock belongs to the open descriptor, which children inherit: it is free
// again once the host and all its children are gone, however they went. That is
// PostgreSQL's test whether anybody is still attached to the shared memory of
// an earlier postmaster.
func (h *host) lockDirectory() error {
	limit := time.NewTimer(orphanGrace)
	defer limit.Stop()
	again := time.NewTicker(lockRetry)
	defer again.Stop()
	for waiting := false; ; {
		err := unix.Flock(int(h.dir.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			failpoint.Here(failpoint.StartLocked)
			if h.dir.lockFile, err = lockfile.Create(h.dir.path); err == nil {
				failpoint.Here(failpoint.LockFileMade)
				h.dir.removeRemnants()
				failpoint.Here(failpoint.RemnantsRemoved)
			}
			return err
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fatal(elog.SystemError, err, "could not lock directory \"%s\": %s", h.dir.path, elog.OSReason(err))
		}
		if err := otherPostmaster(h.dir.path); err != nil {
			return err
		}
		if !waiting {
			waiting = true
			h.log.Logf(elog.Log, "data directory \"%s\" is still in use, waiting for it to be released", h.dir.path)
		}
		select {
		case <-again.C:
		case <-limit.C:
			return stillInUse(h.dir.path)
		case <-h.signals.smart:
			return errStoppedEarly()
		case <-h.signals.fast:
			return errStoppedEarly()
		case <-h.signals.immediate:
			return errStoppedEarly()
		case <-h.ctx.Done():
			return errStoppedEarly()
		}
	}
}

func errStoppedEarly() error {
	return elog.New(elog.Fatal, elog.AdminShutdown, "terminating during startup due to administrator command")
}

// otherPostmaster returns the error to end with if the holder of the lock is a
// live host and no orphan of a dead one. The host may just be starting or
// ending; then there is nothing to tell yet.
func otherPostmaster(dir string) error {
	c, err := lockfile.Read(dir)
	if err != nil {
		return nil
	}
	p, err := c.Holder()
	switch {
	case err == nil:
		p.Close()
		return lockfile.AlreadyExists(dir, c.Pid)
	case elog.CodeOf(err) == elog.ObjectNotInPrerequisite: // in another container
		return lockfile.AlreadyExists(dir, c.Pid)
	}
	return nil
}

func stillInUse(dir string) error {
	e := elog.New(elog.Fatal, elog.LockFileExists, "data directory \"%s\" is still in use", dir).
		WithHint("Terminate any old host processes associated with the data directory.")
	if pids := attached(dir); len(pids) > 0 {
		e = e.WithDetail("Processes of a host that has died still run in it: %s.", strings.Join(pids, ", "))
	}
	return e
}

// attached returns the pids of processes that have inherited the lock of the
// directory, as far as /proc shows them.
func attached(dir string) []string {
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil
	}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/[0-9]*/fd/%d", handshake.FDDirLock))
	var pids []string
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == resolved {
			pids = append(pids, strings.Split(link, "/")[2])
		}
	}
	slices.SortFunc(pids, func(a, b string) int {
		m, _ := strconv.Atoi(a)
		n, _ := strconv.Atoi(b)
		return m - n
	})
	return pids
}

// recheckLockFile reports whether the lock file is still there and ours.
func (h *host) recheckLockFile() bool {
	valid, problem := h.dir.lockFile.Recheck()
	if problem != nil {
		h.log.Emit(problem)
	}
	return valid
}
