//go:build !linux || portable

package host

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// runsHere says that this is no system which hosts run on: memory that is shared
// by descriptor, words of it to sleep on, signals for the death of a parent and
// descriptors of processes are Linux's. What takes them is refused before it comes
// to the functions below.
const runsHere = false

func newPipe(string) ([2]*os.File, error) { return [2]*os.File{}, errors.ErrUnsupported }

func newSocketPair() (ours, theirs *os.File, err error) { return nil, nil, errors.ErrUnsupported }

func childAttributes(*int) *syscall.SysProcAttr { return nil }

func blockSignals([]unix.Signal) {}

func onLeadingThread() bool { return false }

func awaitExit(*os.File) error { return errors.ErrUnsupported }

func awaitExitBlocking(int) {}
