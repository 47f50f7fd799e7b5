//go:build !linux || portable

package plugins

import "golang.org/x/sys/unix"

// PostmasterDeathSignal is none: a host, whose death children are told of, runs
// on Linux only.
const PostmasterDeathSignal = unix.Signal(0)
