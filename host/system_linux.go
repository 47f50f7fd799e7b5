//go:build !portable

package host

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// runsHere says that this is a system which hosts run on.
const runsHere = true

// newPipe returns the two ends of a pipe, the reading end first.
func newPipe(name string) (ends [2]*os.File, err error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return ends, err
	}
	return [2]*os.File{os.NewFile(uintptr(pipe[0]), name), os.NewFile(uintptr(pipe[1]), name)}, nil
}

// newSocketPair returns the two ends of a handshake.
func newSocketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "handshake"), os.NewFile(uintptr(fds[1]), "handshake"), nil
}

// childAttributes say how children are born: in a session of their own, with a
// signal for the end of the thread that forks, and a descriptor that stands for
// them.
func childAttributes(pidfd *int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: plugins.PostmasterDeathSignal, PidFD: pidfd}
}

// blockSignals blocks signals of the calling thread.
func blockSignals(sigs []unix.Signal) {
	var mask unix.Sigset_t
	for _, sig := range sigs {
		bit := uint(sig) - 1
		mask.Val[bit/64] |= 1 << (bit % 64)
	}
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, &mask, nil)
}

// onLeadingThread reports whether the calling thread is the process's first.
func onLeadingThread() bool { return unix.Gettid() == unix.Getpid() }

// awaitExit blocks until the process has exited. It does not reap it: as long
// as the event loop has not done that, the pid can't be anybody else's, and
// signals hit the child or nobody.
func awaitExit(pidfd *os.File) error {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var waitErr error
	err = raw.Read(func(fd uintptr) bool {
		var info unix.Siginfo
		waitErr = unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		return waitErr != nil && waitErr != unix.EAGAIN || info.Signo != 0
	})
	return errors.Join(err, waitErr)
}

// awaitExitBlocking is awaitExit for the case that the descriptor is of no use.
// It takes an operating system thread until the process exits.
func awaitExitBlocking(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}
