package main

import (
	"cmp"
	"slices"
)

// state is all that a plan depends on.
type state struct {
	partitions []partition // but for the default partition
	cells      []span      // by their bounds
	present    int64       // the ordinal of now, or of the value in use
	cutoff     int64       // what ends here or before has expired; minOrdinal for nothing
}

// plan is what there is to do for one table.
type plan struct {
	create []span      // the most urgent first
	retire []partition // the oldest first
}

// planned compares what there is with what should be. It has no notion of what
// was done before, which is why a worker that was killed, or off for a year,
// just goes on.
//
// Where partitions are off the grid, because somebody has made them by hand or
// changed the policy, only the room between them is filled.
func planned(s state) plan {
	var p plan
	for _, cell := range s.cells {
		if cell.Upper > s.cutoff {
			p.create = append(p.create, free(cell, s.partitions)...)
		}
	}
	slices.SortStableFunc(p.create, func(a, b span) int { return s.urgency(a, b) })
	for _, part := range s.partitions {
		if part.Upper <= s.cutoff && part.Upper != maxOrdinal {
			p.retire = append(p.retire, part)
		}
	}
	slices.SortStableFunc(p.retire, func(a, b partition) int { return cmp.Compare(a.Upper, b.Upper) })
	return p
}

// urgency orders partitions to create: the one in use now and those that come
// after it, in the order in which they are needed, and then the gaps of the past
// from the newest on.
func (s state) urgency(a, b span) int {
	pastA, pastB := a.Upper <= s.present, b.Upper <= s.present
	switch {
	case pastA != pastB && pastA:
		return 1
	case pastA != pastB:
		return -1
	case pastA:
		return cmp.Compare(b.Lower, a.Lower)
	}
	return cmp.Compare(a.Lower, b.Lower)
}

// free returns what of a span is in no partition. The partitions do not overlap;
// their order does not matter.
func free(s span, partitions []partition) []span {
	rest := []span{s}
	for _, p := range partitions {
		var next []span
		for _, r := range rest {
			for _, piece := range []span{{r.Lower, min(r.Upper, p.Lower)}, {max(r.Lower, p.Upper), r.Upper}} {
				if !piece.empty() {
					next = append(next, piece)
				}
			}
		}
		rest = next
	}
	return rest
}
