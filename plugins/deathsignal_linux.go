//go:build !portable

package plugins

import "golang.org/x/sys/unix"

// PostmasterDeathSignal is what a child is sent by the kernel when the host
// dies. Mirrors POSTMASTER_DEATH_SIGNAL.
const PostmasterDeathSignal = unix.SIGPWR
