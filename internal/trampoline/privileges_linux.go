//go:build !portable

package trampoline

import "golang.org/x/sys/unix"

// renouncePrivileges keeps this process, and what it executes, from gaining any.
func renouncePrivileges() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }
