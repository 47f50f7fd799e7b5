package lockfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// ErrGone says that the process which wrote a lock file lives no more.
var ErrGone = errors.New("no such process")

// ErrCopied is the [ErrGone] of a lock file that was copied with its directory:
// the process which wrote it may well live, but it runs where the original is.
var ErrCopied = fmt.Errorf("the lock file is a copy: %w", ErrGone)

// clockSlack is by how much a process may seem to be younger than the file that
// it has written: line 3 has whole seconds, and the clock may have been set.
const clockSlack = 2 * time.Second

// Holder finds the live process that wrote the file. It returns [ErrGone] if
// there is none: it is dead or a zombie, or the pid is that of a process which
// has started later; and [ErrCopied] if it runs in another directory. It returns an *elog.ErrorData if the host runs in another
// PID namespace, such as a container's, where this process can't reach it. The
// caller closes the process.
func (c Contents) Holder() (*Process, error) {
	if c.isElsewhere() {
		if !isLocked(cmp.Or(c.readIn, c.DataDir)) {
			return nil, ErrGone
		}
		return nil, elog.New(elog.Error, elog.ObjectNotInPrerequisite, "the server (PID %d) runs in another PID namespace", c.Pid).
			WithHint("Run this command where the host runs, for instance inside its container.")
	}
	if c.isCopy() {
		return nil, ErrCopied
	}
	fd, err := openPidfd(c.Pid)
	if isErrno(err, unix.ESRCH, unix.EINVAL, unix.ENOENT) {
		return nil, ErrGone // or by now the number of a thread: EINVAL, or ENOENT from newer kernels
	}
	if err != nil {
		return nil, elog.New(elog.Error, elog.SystemError, "could not open process %d: %s", c.Pid, elog.OSReason(err)).WithCause(err)
	}
	// Only now that we hold it: before, the pid could still change its owner.
	// What /proc does not tell us about, we must believe to be the host.
	entry, err := lookAt(c.Pid)
	if hasEnded(fd) || err == nil && c.isAnother(entry) {
		_ = unix.Close(fd)
		return nil, ErrGone
	}
	_ = unix.SetNonblock(fd, true) // lets the netpoller watch it
	return &Process{Pid: c.Pid, pidfd: os.NewFile(uintptr(fd), "pidfd")}, nil
}

func isErrno(err error, any ...unix.Errno) bool {
	return slices.ContainsFunc(any, func(errno unix.Errno) bool { return errors.Is(err, errno) })
}

// hasEnded reports whether nothing but the exit status is left of a process.
func hasEnded(pidfd int) bool {
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, _ := unix.Poll(poll, 0)
	return n > 0
}

// isElsewhere reports whether the pid means nothing here.
func (c Contents) isElsewhere() bool {
	own := ownNamespace()
	return own != 0 && c.identity.namespace != 0 && own != c.identity.namespace
}

// isCopy reports whether the original of this file is still in the directory
// that it names, and that is not the one where it was read: somebody has copied
// a data directory with a host running in it. One that was moved has left no
// original behind.
func (c Contents) isCopy() bool {
	if c.readIn == "" || c.DataDir == "" {
		return false
	}
	here, err := os.Stat(c.readIn)
	if err != nil {
		return false
	}
	there, err := os.Stat(c.DataDir)
	if err != nil || os.SameFile(here, there) {
		return false
	}
	original, err := Read(c.DataDir)
	return err == nil && original.Pid == c.Pid && original.identity == c.identity
}

// isAnother reports whether the process can't have written the file. What the
// kernel says about its start decides, and no clock that somebody may set: the
// pid can have been given out again within the second, or the file be dated in
// the future. Only of a file that does not tell does the date decide, by the age
// of the process.
func (c Contents) isAnother(p procEntry) bool {
	if c.identity.start != 0 {
		return c.identity.start != p.start
	}
	start, ok := startedAt(p.start)
	return ok && !c.Started.IsZero() && start.After(c.Started.Add(clockSlack))
}

// isLocked reports whether somebody holds the lock of a data directory. The
// host tries more than once, so that this look does not keep one from starting.
func isLocked(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// Process is a live process, or one that was when it was found. It is held by a
// descriptor, so that no signal hits another one that got its pid. Its methods
// may be called from any goroutine.
type Process struct {
	Pid   int
	pidfd *os.File
}

// Signal sends a signal. It returns [ErrGone] if the process has ended, and the
// error of the operating system otherwise.
func (p *Process) Signal(sig unix.Signal) error {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	if err := raw.Control(func(fd uintptr) { sendErr = signalPidfd(int(fd), sig) }); err != nil {
		return err
	}
	if errors.Is(sendErr, unix.ESRCH) {
		return ErrGone
	}
	return sendErr
}

// Wait returns nil once the process has ended, and the context's error if that
// ends before. One goroutine at a time may wait.
func (p *Process) Wait(ctx context.Context) error {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	if err := p.pidfd.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = p.pidfd.SetReadDeadline(time.Unix(1, 0)) })()
	err = raw.Read(func(fd uintptr) bool { return hasEnded(int(fd)) })
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Close lets go of the process.
func (p *Process) Close() { _ = p.pidfd.Close() }
