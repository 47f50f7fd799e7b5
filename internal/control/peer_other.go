//go:build !linux

package control

import "errors"

// peerOf refuses: no control server runs without a host, and that runs on Linux.
func peerOf(uintptr) (pid, uid int, err error) { return 0, 0, errors.ErrUnsupported }
