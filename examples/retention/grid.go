package main

import (
	"context"
	"math"
	"strings"
)

// mostCells bounds what one round looks at: a table with more partitions than
// that is beyond PostgreSQL, too.
const mostCells = 10000

// cells returns the spans that the policy's boundaries make of the time, or the
// numbers, from the one that from is in to ahead spans beyond the one that head
// is in. If these are too many, the oldest are left out.
func (m *manager) cells(ctx context.Context, p policy, from, head int64, ahead int) ([]span, error) {
	if p.ByInteger {
		return p.integerCells(from, head, ahead), nil
	}
	boundaries, err := values[int64](ctx, m.statements, p.expand(gridQuery), p.Parent, from, head, ahead, mostCells)
	if err != nil {
		return nil, err
	}
	var cells []span
	for i := 1; i < len(boundaries); i++ {
		if c := (span{boundaries[i-1], boundaries[i]}); !c.empty() {
			cells = append(cells, c)
		}
	}
	return cells, nil
}

// gridQuery counts in local time, in which days and months have no daylight
// saving, and turns each boundary into an instant by itself.
const gridQuery = `
SELECT {ordinal: p.origin + n * p.every}
FROM retention.policy p,
	LATERAL (SELECT {local: $2::bigint} AS first, {local: $3::bigint} AS last) AS t,
	LATERAL (SELECT {index: t.first} AS first, {index: t.last} AS last) AS k,
	LATERAL generate_series(greatest(k.first, k.last - $5::bigint), k.last + $4::bigint + 1) AS n
WHERE p.parent = $1
ORDER BY n`

// presentQuery returns what time it is and which was the oldest that is kept.
const presentQuery = `
SELECT {ordinal: t.now}, coalesce({ordinal: t.now - p.keep}, 0)
FROM retention.policy p,
	LATERAL (SELECT coalesce($2::timestamptz, now()) AT TIME ZONE p.time_zone AS now) AS t
WHERE p.parent = $1`

// localQuery returns the local times of ordinals, for names. Of a day that begins
// at one o'clock, because there is no midnight, it says midnight all the same.
const localQuery = `
SELECT CASE WHEN {ordinal: cell.start} = o THEN cell.start ELSE l.time END
FROM retention.policy p, unnest($2::bigint[]) WITH ORDINALITY AS u(o, i),
	LATERAL (SELECT {local: o} AS time) AS l,
	LATERAL (SELECT p.origin + {index: l.time} * p.every AS start) AS cell
WHERE p.parent = $1
ORDER BY i`

// expand replaces {ordinal: E} by the ordinal of a local timestamp, {local: E}
// by the local timestamp of an ordinal, and {index: E} by the number of the
// cell that a local timestamp is in, counted from the policy's origin.
func (p policy) expand(query string) string {
	for _, macro := range []struct{ name, with string }{
		{"{ordinal:", p.ordinalMacro()}, {"{local:", p.localMacro()}, {"{index:", p.indexMacro()},
	} {
		for {
			before, rest, found := strings.Cut(query, macro.name)
			if !found {
				break
			}
			argument, after, _ := strings.Cut(rest, "}")
			query = before + strings.ReplaceAll(macro.with, "@", "("+argument+")") + after
		}
	}
	return query
}

func (p policy) ordinalMacro() string {
	if p.KeyType == "timestamp with time zone" {
		return "(extract(epoch FROM @ AT TIME ZONE p.time_zone) * 1000000)::bigint"
	}
	return "(extract(epoch FROM @) * 1000000)::bigint"
}

func (p policy) localMacro() string {
	if p.KeyType == "timestamp with time zone" {
		return "((timestamptz 'epoch' + @ * interval '1 microsecond') AT TIME ZONE p.time_zone)"
	}
	return "(timestamp 'epoch' + @ * interval '1 microsecond')"
}

func (p policy) indexMacro() string {
	if p.Months == 0 {
		return "floor(extract(epoch FROM @ - p.origin) / extract(epoch FROM p.every))::bigint"
	}
	// Months by the calendar, less one if that many after the origin is later.
	months := "((extract(year FROM @) - extract(year FROM p.origin)) * 12 + extract(month FROM @) - extract(month FROM p.origin))::int"
	return "floor((" + months + " - (p.origin + make_interval(months => " + months + ") > @)::int)::numeric" +
		" / (extract(year FROM p.every) * 12 + extract(month FROM p.every)))::bigint"
}

// integerCells is cells for integers. The last cell of the type has no upper
// bound, and there is none beyond it.
func (p policy) integerCells(from, head int64, ahead int) []span {
	oldest := head
	if p.EveryN <= math.MaxInt64/mostCells && head >= minOrdinal+p.EveryN*mostCells {
		oldest -= p.EveryN * mostCells
	}
	var cells []span
	c := p.integerCell(max(from, oldest))
	for c.Lower <= head || ahead > 0 {
		if c.Lower > head {
			ahead--
		}
		cells = append(cells, c)
		if c.Upper == maxOrdinal {
			break
		}
		c = span{c.Upper, p.integerUpper(c.Upper)}
	}
	return cells
}

// integerCell returns the cell that a value is in.
func (p policy) integerCell(value int64) span {
	beyond := floorMod(floorMod(value, p.EveryN)-floorMod(p.OriginN, p.EveryN), p.EveryN)
	if value < minOrdinal+beyond {
		return span{minOrdinal, p.integerUpper(value - floorMod(value, p.EveryN))}
	}
	return span{value - beyond, p.integerUpper(value - beyond)}
}

func (p policy) integerUpper(lower int64) int64 {
	if greatest := p.keyKind().greatest; lower > greatest-p.EveryN {
		return maxOrdinal
	}
	return lower + p.EveryN
}

// floorMod is the remainder that is not negative. by is no more than half of the
// greatest int64: see the constraint on every_n.
func floorMod(value, by int64) int64 {
	return (value%by + by) % by
}
