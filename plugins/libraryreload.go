package plugins

import (
	"crypto/rand"
	"encoding/binary"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// RequestLibraryReload asks the postmaster to load a library again, and returns
// the number of the request. Only the control server calls it, and waits for
// LibraryReloadAnswered before it asks again. The error, an *elog.ErrorData, says
// that no library is called so.
func (w *Worker) RequestLibraryReload(name string) (id uint64, err error) {
	if !shmem.MayReload(name) || name == InternalLibrary {
		return 0, elog.New(elog.Error, elog.InvalidName, "invalid library name: %q", name)
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails, says its documentation
	id = binary.NativeEndian.Uint64(random[:])
	w.segment.RequestReload(w.alarm, id, name)
	return id, nil
}

// LibraryReloadAnswered reports whether the postmaster has answered a request: the
// answer is in a file of the data directory. It sets the control server's latch
// when it has.
func (w *Worker) LibraryReloadAnswered(id uint64) bool { return w.segment.ReloadAnswered() == id }
