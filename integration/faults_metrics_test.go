//go:build linux

package integration

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// scribble overwrites the last page of shared memory, where all is that was
// counted.
func scribble(ctx context.Context, w *plugins.Worker) error {
	const page = 4096
	var st unix.Stat_t
	if err := unix.Fstat(handshake.FDSegment, &st); err != nil {
		return err
	}
	last, err := unix.Mmap(handshake.FDSegment, st.Size-page, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	for i := range last {
		last[i] = 0xff
	}
	w.Logf(elog.Log, "%s has scribbled", w.Entry().Name)
	return wait(ctx, w)
}
