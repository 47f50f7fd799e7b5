package gateway

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// isOwnUser reports whether the peer of a unix socket is the user who runs the
// host.
func isOwnUser(conn net.Conn) bool {
	peer, err := peerOf(conn)
	return err == nil && int(peer.Uid) == os.Geteuid()
}

// peerOf tells who is at the other end of a unix socket.
func peerOf(conn net.Conn) (*unix.Ucred, error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, net.UnknownNetworkError(conn.LocalAddr().Network())
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	var failure error
	if err := raw.Control(func(fd uintptr) { peer, failure = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return nil, err
	}
	return peer, failure
}
