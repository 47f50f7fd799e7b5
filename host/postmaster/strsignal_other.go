//go:build !linux

package postmaster

import "golang.org/x/sys/unix"

// strsignal names a signal as Go does. No host runs here to log one.
func strsignal(sig unix.Signal) string { return sig.String() }
