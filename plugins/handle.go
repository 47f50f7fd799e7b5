package plugins

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// Handle stands for one registration of a dynamic worker, whatever becomes of
// its process and of its slot. Mirrors BackgroundWorkerHandle.
//
// It is a value: handles are equal if they stand for the same registration, can
// be keys of maps, and can be passed to other processes of the same host as
// text. A handle outlives what it stands for. Once the worker is unregistered,
// or shared memory has been rebuilt after a crash, the worker counts as stopped
// for good. The zero Handle stands for no worker, and counts as stopped too.
type Handle struct {
	incarnation uint64 // of the segment: generations begin anew with each
	slot        uint32
	generation  uint64
}

// String returns the handle as text, which ParseHandle turns back.
func (h Handle) String() string {
	return fmt.Sprintf("%016x.%d.%d", h.incarnation, h.slot, h.generation)
}

// Incarnation returns the first part of the handle's text, which is that of all
// handles of one host between two of its crashes: whoever keeps handles can tell
// by it those that stand for nothing any more.
func (h Handle) Incarnation() string { return fmt.Sprintf("%016x", h.incarnation) }

// Incarnation returns what Incarnation of the handles is that are made now. It is
// empty for a worker without shared memory.
func (w *Worker) Incarnation() string {
	if w.segment == nil {
		return ""
	}
	return Handle{incarnation: w.segment.Incarnation()}.Incarnation()
}

// ParseHandle turns the text of a handle back into it. It returns an error with
// SQLSTATE 22P02 for anything that Handle.String does not return, but can't
// tell whether there is such a worker.
func ParseHandle(text string) (Handle, error) {
	incarnation, rest, _ := strings.Cut(text, ".")
	slot, generation, _ := strings.Cut(rest, ".")
	i, err1 := strconv.ParseUint(incarnation, 16, 64)
	s, err2 := strconv.ParseUint(slot, 10, 32)
	g, err3 := strconv.ParseUint(generation, 10, 64)
	h := Handle{incarnation: i, slot: uint32(s), generation: g}
	// One handle has one text, so that texts can be compared as well.
	if err1 != nil || err2 != nil || err3 != nil || s >= shmem.MaxSlots || h.String() != text {
		return Handle{}, elog.New(elog.Error, elog.InvalidTextRepresentation, "invalid input syntax for background worker handle: \"%s\"", text)
	}
	return h, nil
}

// MarshalText returns the handle as text, for encoding/json and its like.
func (h Handle) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is ParseHandle for encoding/json and its like.
func (h *Handle) UnmarshalText(text []byte) error {
	parsed, err := ParseHandle(string(text))
	if err == nil {
		*h = parsed
	}
	return err
}
