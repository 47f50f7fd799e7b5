package main

import (
	"context"
	"fmt"
)

// survey finds out what a plan for a table depends on.
func (m *manager) survey(ctx context.Context, p policy) (s state, err error) {
	all, err := m.partitions(ctx, p)
	if err != nil {
		return s, err
	}
	for _, part := range all {
		if !part.IsDefault {
			s.partitions = append(s.partitions, part)
		}
	}
	if err := m.present(ctx, p, &s); err != nil {
		return s, err
	}
	if s.cells, err = m.cells(ctx, p, s.since(p), s.present, p.Premake); err != nil {
		return s, err
	}
	if p.MovesRows && p.Default != 0 && len(s.cells) > 0 {
		old, err := m.cellsOfDefault(ctx, p, s)
		s.cells = append(old, s.cells...)
		return s, err
	}
	return s, nil
}

// since returns where the partitions shall begin: the times since the first
// partition that have not expired, because rows may still come late; of the
// numbers, which don't, not more behind the present than ahead of it.
func (s state) since(p policy) int64 {
	oldest := s.cutoff
	if p.ByInteger {
		behind := int64(p.Premake)
		if behind > 0 && (p.EveryN > maxOrdinal/behind || s.present < minOrdinal+p.EveryN*behind) {
			behind = 0
		}
		oldest = max(oldest, s.present-p.EveryN*behind)
	}
	return min(max(oldest, firstBound(s.partitions)), s.present)
}

// firstBound returns the first bound of the partitions that is a value.
func firstBound(partitions []partition) int64 {
	first := int64(maxOrdinal)
	for _, p := range partitions {
		for _, bound := range []int64{p.Lower, p.Upper} {
			if bound != minOrdinal {
				first = min(first, bound)
			}
		}
	}
	return first
}

// present fills in present and cutoff of the state. With integers, there shall
// be partitions around the greatest number that was ever given out, whereas what
// has expired depends on the greatest number that is in a partition. So a
// sequence that jumps makes partitions, and expires none; and a number gone wrong
// in the default partition does neither.
func (m *manager) present(ctx context.Context, p policy, s *state) error {
	s.cutoff = minOrdinal
	if p.ByInteger {
		return m.presentNumber(ctx, p, s)
	}
	times, err := structs[span](ctx, m.statements, p.expand(presentQuery), p.Parent, m.clock)
	if err != nil || len(times) == 0 {
		return err
	}
	s.present = times[0].Lower
	if p.Keeps {
		s.cutoff = times[0].Upper
	}
	return nil
}

func (m *manager) presentNumber(ctx context.Context, p policy, s *state) error {
	greatest, err := m.greatest(ctx, p, s.partitions)
	if err != nil {
		return err
	}
	s.present = p.OriginN
	if greatest != nil {
		s.present = *greatest
		if p.KeepN != nil && *greatest > minOrdinal+*p.KeepN {
			s.cutoff = *greatest - *p.KeepN + 1 // the numbers from here on are kept
		}
	}
	given, err := values[int64](ctx, m.statements, `
		WITH owned AS MATERIALIZED (
			SELECT d.objid
			FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
			JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
			WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
				AND d.refobjid = $1 AND a.attname = $2)
		SELECT l.last FROM owned, LATERAL (SELECT pg_sequence_last_value(objid) AS last) AS l WHERE l.last IS NOT NULL`, p.Parent, p.Key)
	if err != nil {
		return err
	}
	for _, last := range given {
		s.present = max(s.present, last)
	}
	return nil
}

// greatest returns the greatest number in the partitions, or nil if they are
// empty. It looks at them from the last one back until one is not.
func (m *manager) greatest(ctx context.Context, p policy, partitions []partition) (greatest *int64, err error) {
	for i := len(partitions) - 1; i >= 0 && greatest == nil && err == nil; i-- {
		if partitions[i].DetachPending {
			continue
		}
		err = m.asOwner(ctx, p, func(ctx context.Context, tx statements) (err error) {
			greatest, err = value[*int64](ctx, tx, fmt.Sprintf("SELECT max(%s)::bigint FROM %s", quote(p.Key), partitions[i].quoted()))
			return err
		})
	}
	return greatest, err
}

// defaultName returns the name of the default partition, for SQL.
func (m *manager) defaultName(ctx context.Context, p policy) (string, error) {
	return value[string](ctx, m.statements,
		"SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1", p.Default)
}

// cellsOfDefault returns the cells before those of the state in which the
// default partition has rows that have not expired.
func (m *manager) cellsOfDefault(ctx context.Context, p policy, s state) ([]span, error) {
	name, err := m.defaultName(ctx, p)
	if err != nil {
		return nil, err
	}
	var cells []span
	rest := span{s.cutoff, s.cells[0].Lower}
	for len(cells) < m.limits.batch && !rest.empty() {
		condition, err := p.keyKind().within(p.Key, rest)
		if err != nil {
			return nil, err
		}
		var first *int64
		err = m.asOwner(ctx, p, func(ctx context.Context, tx statements) error {
			column := "min(" + quote(p.Key) + ")"
			first, err = value[*int64](ctx, tx, fmt.Sprintf("SELECT %s FROM %s WHERE %s", p.keyKind().ordinalOf(column), name, condition))
			return err
		})
		if err != nil || first == nil || *first == minOrdinal {
			return cells, err
		}
		found, err := m.cells(ctx, p, *first, *first, 0)
		if err != nil || len(found) == 0 {
			return cells, err
		}
		cell := found[0]
		cell.Upper = min(cell.Upper, s.cells[0].Lower)
		cells = append(cells, cell)
		rest.Lower = cell.Upper
	}
	return cells, nil
}
