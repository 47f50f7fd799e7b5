//go:build !portable

package localpg

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent has the kernel send the program a signal when this process ends.
func dieWithParent(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }

// awaitStopped returns when SIGSTOP has taken effect or the program has ended.
// It leaves both to be seen by other waits. An error means that there is
// nothing to wait for any more.
func (p *process) awaitStopped() {
	_ = p.cmd.Process.WithHandle(func(pidfd uintptr) {
		err := error(unix.EINTR)
		for errors.Is(err, unix.EINTR) {
			err = unix.Waitid(unix.P_PIDFD, int(pidfd), nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		}
	})
}
