package main

import (
	"os"

	"golang.org/x/sys/unix"
)

func openPidfd(pid int) (int, error) { return unix.PidfdOpen(pid, 0) }

func signalPidfd(fd int, sig unix.Signal) error { return unix.PidfdSendSignal(fd, sig, nil, 0) }

// unlockTerminal returns the number of the other end of a pseudo-terminal.
func unlockTerminal(master *os.File) (uint32, error) {
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return 0, err
	}
	return unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
}
