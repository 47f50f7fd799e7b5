//go:build !portable

package lockfile

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/failpoint"
)

// makeWhole makes a file that has no name until it is written.
func makeWhole(dir, path, text string) error {
	fd, err := unix.Open(dir, unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if err := writeDurably(file, text); err != nil {
		return err
	}
	failpoint.Here(failpoint.LockFileWritten)
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
}

// openPidfd returns a descriptor that stays that process's, whoever gets its pid.
func openPidfd(pid int) (int, error) { return unix.PidfdOpen(pid, 0) }

func signalPidfd(fd int, sig unix.Signal) error { return unix.PidfdSendSignal(fd, sig, nil, 0) }

// sinceBoot is the clock that /proc counts the starts of processes by.
func sinceBoot() (time.Duration, bool) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	return time.Duration(now.Nano()), err == nil
}
