//go:build linux

package integration

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// ownSegment maps the process's shared memory once more.
func ownSegment() (*shmem.Segment, error) {
	own, err := unix.FcntlInt(handshake.FDSegment, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return shmem.Attach(os.NewFile(uintptr(own), "inherited"))
}

// holdLock takes the slot lock and never gives it back; with a MainArg it ends
// by that exit code, without the runtime's farewell.
func holdLock(ctx context.Context, w *plugins.Worker) error {
	segment, err := ownSegment()
	if err != nil {
		return err
	}
	segment.BackendSlots(w.Pid()).Lock()
	w.Logf(elog.Log, "%s holds the slot lock", w.Entry().Name)
	if code := w.Entry().MainArg; code != 0 {
		os.Exit(int(code))
	}
	return wait(ctx, w)
}

// tryLock takes the slot lock and gives it back.
func tryLock(ctx context.Context, w *plugins.Worker) error {
	segment, err := ownSegment()
	if err != nil {
		return err
	}
	slots := segment.BackendSlots(w.Pid())
	slots.Lock()
	slots.Unlock() //nolint:staticcheck // to have had it was all
	w.Logf(elog.Log, "%s has had the slot lock, incarnation %x", w.Entry().Name, segment.Incarnation())
	return wait(ctx, w)
}
