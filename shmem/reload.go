package shmem

import (
	"encoding/binary"
	"hash/fnv"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/pgexthost/pgexthost/internal/failpoint"
)

// reloadBox is where a child asks the postmaster to load a library again, and
// finds that it was answered. It holds one request: who comes next replaces it.
type reloadBox struct {
	id       atomic.Uint64 // who asks makes it up
	check    atomic.Uint64 // what checkOf makes of the rest; stored last
	answered atomic.Uint64 // the request that was answered last
	name     [PathSize]byte
}

// checkOf ties a request together. It is hard to come by without wanting it, so
// that neither garbage nor a half-written request is one.
func (s *Segment) checkOf(id uint64, library string) uint64 {
	h := fnv.New64a()
	var word [8]byte
	for _, n := range [...]uint64{s.incarnation, id} {
		binary.NativeEndian.PutUint64(word[:], n)
		_, _ = h.Write(word[:])
	}
	_, _ = h.Write([]byte(library))
	return h.Sum64()
}

// MayReload reports whether a library's name can be asked for: it is printable
// UTF-8 of less than PathSize bytes, and not empty.
func MayReload(library string) bool {
	if library == "" || len(library) >= PathSize || !utf8.ValidString(library) {
		return false
	}
	for _, c := range library {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}

// RequestReload asks the postmaster to load a library again, under a number that
// nobody else has used, and wakes it. One process at a time asks: another that
// does replaces the request, unless the postmaster has seen it already.
func (s *Segment) RequestReload(a *Alarm, id uint64, library string) {
	box := &s.head.reload
	box.check.Store(0)
	box.id.Store(id)
	putString(box.name[:], library)
	box.check.Store(s.checkOf(id, library))
	failpoint.Here(failpoint.ReloadRequested)
	s.SendPostmasterSignal(a, PMSignalLibraryReload)
}

// ReloadRequest returns what was asked for last, and false if that is no
// request: garbage, or one that is being written, whose writer has yet to wake
// the postmaster. It neither waits nor takes a lock.
func (s *Segment) ReloadRequest() (id uint64, library string, ok bool) {
	box := &s.head.reload
	check := box.check.Load()
	id = box.id.Load()
	name := make([]byte, 0, 64)
	for _, c := range box.name[:PathSize-1] {
		if c == 0 {
			break
		}
		name = append(name, c)
	}
	library = string(name)
	if check != s.checkOf(id, library) || !MayReload(library) {
		return 0, "", false
	}
	return id, library, true
}

// AnswerReload says that a request was answered: the answer itself is a file of
// the data directory. Only the postmaster calls it.
func (s *Segment) AnswerReload(id uint64) { s.head.reload.answered.Store(id) }

// ReloadAnswered returns the request that was answered last, or 0.
func (s *Segment) ReloadAnswered() uint64 { return s.head.reload.answered.Load() }
