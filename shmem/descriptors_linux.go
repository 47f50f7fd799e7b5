//go:build !portable

package shmem

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// newMemory makes memory to share with children: a memfd of a fixed size.
func newMemory(size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate("pgexthost", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "shared memory")
	if err := file.Truncate(size); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	// Nobody can shrink the file under a mapping and so kill its users with SIGBUS.
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return nil, errors.Join(os.NewSyscallError("fcntl(F_ADD_SEALS)", err), file.Close())
	}
	return file, nil
}

// newEvent makes the descriptor of an alarm.
func newEvent() (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return os.NewFile(uintptr(fd), "postmaster alarm"), nil
}
