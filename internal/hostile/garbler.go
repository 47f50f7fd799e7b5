// Package hostile writes garbage over the shared memory of a host, for tests of
// what the host makes of that.
package hostile

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/shmem"
)

// Garbler overwrites a segment through a mapping of its own. It is for one
// goroutine.
type Garbler struct {
	segment *shmem.Segment
	alarm   *shmem.Alarm
	mem     []byte
	rnd     *rand.Rand
	pids    []int
	fields  map[string]field
	names   []string // of the fields, in a fixed order
}

// New returns a garbler of the segment, which becomes its own: nobody else may
// use the mapping. The pids are those that it writes wherever a pid may stand.
func New(segment *shmem.Segment, alarm *shmem.Alarm, seed uint64, pids ...int) (*Garbler, error) {
	mem, err := mapFile(segment)
	if err != nil {
		return nil, err
	}
	rnd := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // it has to be repeatable
	g := &Garbler{segment: segment, alarm: alarm, mem: mem, rnd: rnd, pids: pids}
	slots := segment.PostmasterSlots().Len()
	if g.fields, err = findFields(slots, segment.ProcCount()); err != nil {
		g.Close()
		return nil, err
	}
	for name := range g.fields {
		g.names = append(g.names, name)
	}
	slices.Sort(g.names)
	return g, nil
}

// Close unmaps the segment.
func (g *Garbler) Close() {
	_ = unix.Munmap(g.mem)
	_ = g.segment.Close()
}

// Round overwrites something, mostly everything, and most times has the
// postmaster look at it. It returns what it did.
func (g *Garbler) Round() string {
	kinds := []struct {
		name string
		do   func()
	}{
		{"random bytes", func() { g.fill(g.part(), g.rnd.Uint32) }},
		{"bit flips", g.flipBits},
		{"ones", func() { g.fill(g.part(), func() uint32 { return 0xffffffff }) }},
		{"zeros", func() { g.fill(g.part(), func() uint32 { return 0 }) }},
		{"endless text", func() { g.fill(g.part(), func() uint32 { return 0x41414141 }) }},
		{"words", g.words},
		{"one word", func() { g.word(g.fields[g.names[g.rnd.IntN(len(g.names))]]) }},
		{"valid slots", g.validSlots},
		{"free slots", g.freeSlots},
		{"strangers", g.strangers},
	}
	kind := kinds[g.rnd.IntN(len(kinds))]
	kind.do()
	if g.rnd.IntN(2) == 0 { // or the postmaster looks no further
		g.put(g.fields[totalSlots].offset, uint32(g.fields[terminate].count))
	}
	if g.rnd.IntN(4) > 0 {
		g.segment.SendPostmasterSignal(g.alarm, shmem.PMSignalServerState)
		g.segment.SendPostmasterSignal(g.alarm, shmem.PMSignalBackgroundWorkerChange)
	}
	return kind.name
}

func (g *Garbler) put(offset int, value uint32) {
	binary.NativeEndian.PutUint32(g.mem[offset:], value)
}

// span is a part of the segment.
type span struct{ from, to int }

// part picks all of the segment or a part of it.
func (g *Garbler) part() span {
	const page = 4096
	switch pages := len(g.mem) / page; g.rnd.IntN(4) {
	case 0:
		return span{0, len(g.mem)}
	case 1:
		return span{0, page} // the header
	case 2:
		return span{page, len(g.mem)}
	default:
		at := g.rnd.IntN(pages) * page
		return span{at, at + page}
	}
}

func (g *Garbler) fill(where span, value func() uint32) {
	for i := where.from; i < where.to; i += 4 {
		g.put(i, value())
	}
}

func (g *Garbler) flipBits() {
	for range 1 + g.rnd.IntN(200) {
		i := g.rnd.IntN(len(g.mem)/4) * 4
		g.put(i, binary.NativeEndian.Uint32(g.mem[i:])^1<<g.rnd.IntN(32))
	}
}

// word overwrites a field, in all records or in one.
func (g *Garbler) word(f field) {
	values := []uint32{0, 1, 2, 3, 0x7fffffff, 0x80000000, 0xffffffff, g.rnd.Uint32(), uint32(g.pid()), 0x80000000 | uint32(g.pid())}
	value := values[g.rnd.IntN(len(values))]
	if g.rnd.IntN(2) == 0 && f.count > 0 {
		g.put(f.at(g.rnd.IntN(f.count)), value)
		return
	}
	for i := range f.count {
		g.put(f.at(i), value)
	}
}

func (g *Garbler) words() {
	for _, name := range g.names {
		g.word(g.fields[name])
	}
}

func (g *Garbler) pid() int {
	if len(g.pids) == 0 {
		return 1
	}
	return g.pids[g.rnd.IntN(len(g.pids))]
}

// validSlots registers workers as a child that forgets the lock might, over
// whatever there is. None would restart at once: that is any child's right, and
// keeps a host busy.
func (g *Garbler) validSlots() {
	pm := g.segment.PostmasterSlots()
	for i := range pm.Len() {
		if g.rnd.IntN(3) == 0 {
			continue
		}
		restart := []int32{-1, 60, 3600, -2, 1 << 30}[g.rnd.IntN(5)]
		pm.Init(i, shmem.Descriptor{
			Name: "from nowhere", Type: "stranger\n\x1b\xff", Library: []string{"nowhere", "", "/"}[g.rnd.IntN(3)], Function: "main",
			Flags: g.rnd.Uint32N(32), StartTime: g.rnd.Int32N(4), RestartTime: restart, NotifyPid: int32(g.pid()), Request: g.rnd.Int64N(3) - 1,
		})
		pm.SetPid(i, []int{shmem.InvalidPid, shmem.DeadPid, g.pid()}[g.rnd.IntN(3)])
	}
}

// freeSlots makes slots look free, and nothing else, so that whoever registers a
// worker takes one that runs.
func (g *Garbler) freeSlots() {
	f := g.fields[inUse]
	for i := range f.count {
		if g.rnd.IntN(2) == 0 {
			g.put(f.at(i), 0)
		}
	}
}

// strangers writes pids of processes that are none of the host's business.
func (g *Garbler) strangers() {
	for _, name := range []string{"pid of a slot", "notify pid", "pid of a record", slotLock} {
		f := g.fields[name]
		for i := range f.count {
			g.put(f.at(i), uint32(g.pid()))
		}
	}
}
