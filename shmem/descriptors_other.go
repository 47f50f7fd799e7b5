//go:build !linux || portable

package shmem

import (
	"errors"
	"fmt"
	"os"
)

// newMemory refuses: only Linux has memory without a name that can be passed on
// and not be shrunk, and the words of which a process can sleep on. What one
// process needs for itself is [PrivateProc].
func newMemory(int64) (*os.File, error) {
	return nil, fmt.Errorf("shared memory between processes: %w", errors.ErrUnsupported)
}

func newEvent() (*os.File, error) {
	return nil, fmt.Errorf("an alarm between processes: %w", errors.ErrUnsupported)
}
