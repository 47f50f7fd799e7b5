package shmem

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Errors of Attach. Each means that this program and the one that made the
// segment must not share it.
var (
	ErrNotSegment = errors.New("shared memory descriptor does not hold a pgexthost segment")
	ErrVersion    = errors.New("shared memory segment has another version")
	ErrLayout     = errors.New("shared memory segment has another layout")
)

// Segment is a mapped shared memory segment. Its methods are safe for
// concurrent use by any number of goroutines and processes; what each word
// means, and who may write it, is said where it is accessed.
type Segment struct {
	file  *os.File
	mem   []byte
	geo   geometry
	head  *header
	slots []slot
	procs []proc
	tombs []tomb

	shared *sharedCounts

	incarnation  uint64 // as the header said when we came
	postmaster   int32
	holdsTheLock atomic.Bool // somebody in this process has taken the slot lock through this Segment
}

// LayoutHash identifies the layout of the segments this program makes and
// understands. The handshake between postmaster and child compares it.
func LayoutHash() uint64 { return layoutHash() }

// Create makes a new sealed segment for the given number of worker slots and
// process records. Only the postmaster calls it. It returns the operating
// system's error if memory or descriptors are short, and errors.ErrUnsupported
// where there are none to share: see newMemory.
func Create(slots, procs int) (*Segment, error) {
	if slots < 0 || slots > MaxSlots || procs < 1 || procs > MaxSlots+64 {
		return nil, fmt.Errorf("cannot create shared memory for %d slots and %d processes", slots, procs)
	}
	g := newGeometry(slots, procs)
	file, err := newMemory(int64(g.size))
	if err != nil {
		return nil, err
	}
	s, err := mapSegment(file, g)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s.initialise()
	return s, nil
}

// Attach maps the segment that a descriptor inherited from the postmaster
// holds, after checking that it is one, and of this program's layout. The file
// is the segment's from then on, and closed on an error.
func Attach(file *os.File) (_ *Segment, err error) {
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSegment, os.NewSyscallError("fstat", err))
	}
	if st.Size < pageSize {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrNotSegment, st.Size)
	}
	first, err := unix.Mmap(int(file.Fd()), 0, pageSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSegment, os.NewSyscallError("mmap", err))
	}
	g, err := checkHeader(headerView(first), st.Size)
	if unmapErr := unix.Munmap(first); err != nil || unmapErr != nil {
		return nil, errors.Join(err, unmapErr)
	}
	return mapSegment(file, g)
}

func checkHeader(h *header, fileSize int64) (geometry, error) {
	switch {
	case h.magic != magic:
		return geometry{}, fmt.Errorf("%w: magic number is %#x", ErrNotSegment, h.magic)
	case h.version != version:
		return geometry{}, fmt.Errorf("%w: it has %d, this program has %d", ErrVersion, h.version, version)
	case h.layoutHash != layoutHash():
		return geometry{}, fmt.Errorf("%w: it has %#x, this program has %#x", ErrLayout, h.layoutHash, layoutHash())
	case h.slotCount > MaxSlots || h.procCount > MaxSlots+64:
		return geometry{}, fmt.Errorf("%w: it claims %d slots and %d processes", ErrNotSegment, h.slotCount, h.procCount)
	}
	g := newGeometry(int(h.slotCount), int(h.procCount))
	if int64(g.size) != fileSize || h.slotsOffset != uint64(g.slotsOffset) || h.procsOffset != uint64(g.procsOffset) || h.tombsOffset != uint64(g.tombsOffset) {
		return geometry{}, fmt.Errorf("%w: it has %d bytes where its header needs %d", ErrNotSegment, fileSize, g.size)
	}
	return g, nil
}

func mapSegment(file *os.File, g geometry) (*Segment, error) {
	mem, err := unix.Mmap(int(file.Fd()), 0, g.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	s := &Segment{file: file, mem: mem, geo: g, head: headerView(mem), slots: slotsView(mem, g), procs: procsView(mem, g), tombs: tombsView(mem, g), shared: countsView(mem, g)}
	s.incarnation, s.postmaster = s.head.incarnation, s.head.postmaster
	return s, nil
}

func (s *Segment) initialise() {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails, says its documentation
	s.incarnation, s.postmaster = binary.NativeEndian.Uint64(random[:]), int32(os.Getpid())
	s.WriteConstants()
}

// WriteConstants writes what never changes in a segment, from its maker's own
// memory, and reports whether anything else was there. The postmaster does so
// before it starts a child: one that has overwritten the header has not made
// the segment unfit for those that come later.
func (s *Segment) WriteConstants() (changed bool) {
	h := s.head
	changed = h.magic != magic || h.version != version || h.headerSize != pageSize || h.layoutHash != layoutHash() ||
		h.incarnation != s.incarnation || h.size != uint64(s.geo.size) || h.slotsOffset != uint64(s.geo.slotsOffset) ||
		h.procsOffset != uint64(s.geo.procsOffset) || h.tombsOffset != uint64(s.geo.tombsOffset) ||
		h.slotCount != uint32(s.geo.slots) || h.procCount != uint32(s.geo.procs) || h.postmaster != s.postmaster ||
		h.totalSlots.Load() != uint32(s.geo.slots)
	if !changed {
		return false
	}
	h.magic, h.version, h.headerSize, h.layoutHash = magic, version, pageSize, layoutHash()
	h.size, h.slotsOffset, h.procsOffset = uint64(s.geo.size), uint64(s.geo.slotsOffset), uint64(s.geo.procsOffset)
	h.tombsOffset = uint64(s.geo.tombsOffset)
	h.slotCount, h.procCount = uint32(s.geo.slots), uint32(s.geo.procs)
	h.incarnation, h.postmaster = s.incarnation, s.postmaster
	h.totalSlots.Store(uint32(s.geo.slots))
	return true
}

// File returns the descriptor behind the segment, to be inherited by children.
func (s *Segment) File() *os.File { return s.file }

// Incarnation identifies this segment among all others: random, and new each
// time shared memory is rebuilt. Handles carry it.
func (s *Segment) Incarnation() uint64 { return s.incarnation }

// PostmasterPid returns the process id of the segment's maker.
func (s *Segment) PostmasterPid() int { return int(s.postmaster) }

// Close unmaps the segment and closes its descriptor. Nothing obtained from it
// may be used afterwards.
func (s *Segment) Close() error {
	mem := s.mem
	s.mem, s.head, s.slots, s.procs, s.tombs, s.shared = nil, nil, nil, nil, nil, nil
	return errors.Join(unix.Munmap(mem), s.file.Close())
}
