package control

import "golang.org/x/sys/unix"

// peerOf returns the process at the other end of a socket, and its user.
func peerOf(fd uintptr) (pid, uid int, err error) {
	cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, 0, err
	}
	return int(cred.Pid), int(cred.Uid), nil
}
