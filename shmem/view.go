package shmem

import (
	"unsafe"
)

// The whole of the project's pointer casting is in this file: typed views of
// mapped bytes. The mapping stays alive as long as the Segment (it is not
// garbage-collected memory), holds no Go pointers, and every offset below comes
// from a geometry that was checked against the mapping's length.

const (
	slotSize = int(unsafe.Sizeof(slot{}))
	procSize = int(unsafe.Sizeof(proc{}))
	tombSize = int(unsafe.Sizeof(tomb{}))

	countsSize = int(unsafe.Sizeof(sharedCounts{}))
)

// Compile-time proofs that the 64-bit atomics of every record of an array are
// aligned and that the header fits its page: a negative array length does not
// compile.
var (
	_ [0]byte = [slotSize % 8]byte{}
	_ [0]byte = [procSize % 8]byte{}
	_ [0]byte = [tombSize % 8]byte{}
	_ [0]byte = [unsafe.Sizeof(Statistics{}) % 8]byte{}
	_         = [pageSize - int(unsafe.Sizeof(header{}))]byte{}
)

func headerView(mem []byte) *header {
	return (*header)(unsafe.Pointer(unsafe.SliceData(mem)))
}

func slotsView(mem []byte, g geometry) []slot {
	if g.slots == 0 {
		return nil
	}
	return unsafe.Slice((*slot)(unsafe.Pointer(&mem[g.slotsOffset])), g.slots)
}

func procsView(mem []byte, g geometry) []proc {
	if g.procs == 0 {
		return nil
	}
	return unsafe.Slice((*proc)(unsafe.Pointer(&mem[g.procsOffset])), g.procs)
}

func tombsView(mem []byte, g geometry) []tomb {
	return unsafe.Slice((*tomb)(unsafe.Pointer(&mem[g.tombsOffset])), Tombs)
}

func countsView(mem []byte, g geometry) *sharedCounts {
	return (*sharedCounts)(unsafe.Pointer(&mem[g.countsOffset]))
}

// wordsOf returns the words that statistics consist of.
func wordsOf(s *Statistics) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(s)), unsafe.Sizeof(*s)/8)
}
