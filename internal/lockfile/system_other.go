//go:build !linux || portable

package lockfile

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Here no host runs, and so none is found: what a lock file says comes from
// another machine. Nothing stands in for a pidfd; a pid alone could be anybody's.

func makeWhole(_, _, _ string) error { return errors.ErrUnsupported } // there is another way

func openPidfd(int) (int, error) { return -1, unix.ENOSYS }

func signalPidfd(int, unix.Signal) error { return unix.ENOSYS }

func sinceBoot() (time.Duration, bool) { return 0, false }
