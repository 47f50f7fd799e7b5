package scanner

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// Edit replaces the bytes from Start to End of a text by Text.
type Edit struct {
	Start, End int
	Text       string
}

// Rewrite applies edits, in any order. One that is not within the text, or overlaps
// one that begins before it, is left out. Without edits the text is returned as it is.
//
// The Positions are for errors that the server reports about the new text.
func Rewrite(sql string, edits []Edit, o Options) (string, Positions) {
	if len(edits) == 0 {
		return sql, Positions{}
	}
	sorted := slices.Clone(edits)
	slices.SortStableFunc(sorted, func(a, b Edit) int { return cmp.Compare(a.Start, b.Start) })
	width := widthOf(o)
	var text strings.Builder
	var p Positions
	at := 0               // in sql
	before, after := 0, 0 // characters so far, in sql and in the new text
	for _, e := range sorted {
		if e.Start < at || e.End < e.Start || e.End > len(sql) {
			continue
		}
		text.WriteString(sql[at:e.Start])
		text.WriteString(e.Text)
		same := width.count(sql[at:e.Start])
		c := change{before: before + same, after: after + same}
		before = c.before + width.count(sql[e.Start:e.End])
		after = c.after + width.count(e.Text)
		c.endBefore, c.endAfter = before, after
		p.changes = append(p.changes, c)
		at = e.End
	}
	text.WriteString(sql[at:])
	return text.String(), p
}

// Positions leads from places in a text that [Rewrite] made to those in the text of
// before. The zero value is for a text without edits.
type Positions struct{ changes []change }

// change is an edit in characters, from 0, of the text before and of that after.
type change struct{ before, endBefore, after, endAfter int }

// Original returns the place in the text that the client wrote for one in the text
// that the server got, both in characters from 1, as in field P of ErrorResponse.
// What is within an edit's text is where the edit begins. Zero or less, which is no
// place, stays what it is.
func (p Positions) Original(position int) int {
	at := position - 1
	n := sort.Search(len(p.changes), func(i int) bool { return p.changes[i].after > at })
	if n == 0 {
		return position
	}
	c := p.changes[n-1]
	if at < c.endAfter {
		return c.before + 1
	}
	return at - c.endAfter + c.endBefore + 1
}
