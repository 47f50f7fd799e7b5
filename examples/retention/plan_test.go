package main

import (
	"math"
	"slices"
	"testing"
	"testing/quick"
)

// Whatever there is: once the plan is carried out, the cells that have not
// expired are covered, partitions do not overlap, and there is nothing left to do.
func TestAPlanThatIsCarriedOutLeavesNothingToDo(t *testing.T) {
	holds := func(bounds []uint8, present, cutoff uint8, keepsNone bool) bool {
		s := state{present: int64(present), cutoff: int64(cutoff)}
		if keepsNone {
			s.cutoff = minOrdinal
		}
		slices.Sort(bounds)
		for i := 1; i < len(bounds); i += 2 {
			if bounds[i-1] < bounds[i] {
				s.partitions = append(s.partitions, partition{Lower: int64(bounds[i-1]), Upper: int64(bounds[i])})
			}
		}
		for lower := int64(0); lower < 256; lower += 16 {
			s.cells = append(s.cells, span{lower, lower + 16})
		}
		p := planned(s)
		after := s
		after.partitions = slices.DeleteFunc(slices.Clone(s.partitions), func(p partition) bool { return p.Upper <= s.cutoff })
		if len(after.partitions)+len(p.retire) != len(s.partitions) {
			return false
		}
		for _, c := range p.create {
			after.partitions = append(after.partitions, partition{Lower: c.Lower, Upper: c.Upper})
		}
		return noOverlap(after.partitions) && covered(after) && len(p.create) == 0 == coveredAlready(s) && inOrder(s, p)
	}
	if err := quick.Check(holds, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
}

func noOverlap(partitions []partition) bool {
	sorted := slices.SortedFunc(slices.Values(partitions), func(a, b partition) int { return int(a.Lower - b.Lower) })
	for i := 1; i < len(sorted); i++ {
		if sorted[i-1].Upper > sorted[i].Lower {
			return false
		}
	}
	return true
}

func covered(s state) bool {
	for _, cell := range s.cells {
		for n := cell.Lower; n < cell.Upper; n++ {
			in := slices.ContainsFunc(s.partitions, func(p partition) bool { return p.Lower <= n && n < p.Upper })
			// Of a cell that has not expired, a partition that has may have been a part.
			if !in && cell.Upper > s.cutoff && n >= s.cutoff {
				return false
			}
		}
	}
	return true
}

func coveredAlready(s state) bool {
	for _, cell := range s.cells {
		if cell.Upper > s.cutoff && len(free(cell, s.partitions)) > 0 {
			return false
		}
	}
	return true
}

// inOrder: what is needed now or later comes first, then the past.
func inOrder(s state, p plan) bool {
	past := false
	for i, c := range p.create {
		isPast := c.Upper <= s.present
		if past && !isPast || i > 0 && past == isPast && (c.Lower < p.create[i-1].Lower) != isPast {
			return false
		}
		past = isPast
	}
	return slices.IsSortedFunc(p.retire, func(a, b partition) int { return int(a.Upper - b.Upper) })
}

func TestNumbersHaveCellsUpToTheEndsOfTheirType(t *testing.T) {
	holds := func(value, origin int64, every uint32) bool {
		p := policy{ByInteger: true, KeyType: "bigint", EveryN: int64(every) + 1, OriginN: origin}
		c := p.integerCell(value)
		cells := p.integerCells(value, value, 2)
		return c.Lower <= value && (value < c.Upper || c.Upper == maxOrdinal) && cells[0] == c && len(cells) <= 3 &&
			(c.Upper == maxOrdinal || c.Lower == minOrdinal || c.Upper-c.Lower == p.EveryN) &&
			(c.Lower == minOrdinal || floorMod(floorMod(c.Lower, p.EveryN)-floorMod(origin, p.EveryN), p.EveryN) == 0)
	}
	if err := quick.Check(holds, &quick.Config{MaxCount: 10000}); err != nil {
		t.Error(err)
	}
	for _, value := range []int64{math.MinInt64, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64} {
		for _, origin := range []int64{math.MinInt64, -1, 0, 7, math.MaxInt64} {
			for _, every := range []uint32{0, 1, 9, math.MaxUint32} {
				if !holds(value, origin, every) {
					t.Errorf("value %d, origin %d, every %d", value, origin, every)
				}
			}
		}
	}
}
