package main

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pgexthost/pgexthost/plugins"
)

// layouts are the forms of a partition's lower bound in its name, each with the
// step from which on it is fine enough.
var layouts = []struct {
	months int
	micros int64
	layout string
}{
	{months: 12, layout: "2006"},
	{months: 1, layout: "2006_01"},
	{micros: microsADay, layout: "2006_01_02"},
	{micros: 1, layout: "2006_01_02_1504"},
}

// suffix returns how a partition's name says where it begins. A boundary that is
// off the grid, such as that of a partition made by hand, has a longer one.
func (p policy) suffix(local time.Time) string {
	for _, l := range layouts {
		fine := p.Months > 0 && p.Months%max(l.months, 1) == 0 || p.Months == 0 && l.micros > 0 && p.Micros%l.micros == 0
		exact, err := time.Parse(l.layout, local.Format(l.layout))
		if fine && err == nil && exact.Equal(local) {
			return local.Format(l.layout)
		}
	}
	return strings.ReplaceAll(local.Format("2006_01_02_150405.000000"), ".", "_")
}

// integerSuffix is suffix for integers.
func integerSuffix(lower int64) string {
	switch {
	case lower == minOrdinal:
		return "min"
	case lower < 0:
		return "m" + strconv.FormatInt(-lower, 10)
	}
	return strconv.FormatInt(lower, 10)
}

// name puts a partition's name together. Of a name that is too long, it is the
// table's part that is cut, between characters: partitions of one table must not
// come to have the same name.
func (p policy) name(suffix string) string {
	with := func(table string) string {
		return strings.NewReplacer("{parent}", table, "{from}", suffix).Replace(p.Naming)
	}
	table := p.Name
	for len(with(table)) >= plugins.NameDataLen && table != "" {
		_, size := utf8.DecodeLastRuneInString(table)
		table = table[:len(table)-size]
	}
	return with(table)
}

// names returns the names of partitions that are to be made.
func (m *manager) names(ctx context.Context, p policy, spans []span) ([]string, error) {
	names := make([]string, len(spans))
	if p.ByInteger {
		for i, s := range spans {
			names[i] = p.name(integerSuffix(s.Lower))
		}
		return names, nil
	}
	lowers := make([]int64, len(spans))
	for i, s := range spans {
		lowers[i] = s.Lower
	}
	locals, err := values[time.Time](ctx, m.statements, p.expand(localQuery), p.Parent, lowers)
	if err != nil {
		return nil, err
	}
	for i, local := range locals {
		names[i] = p.name(p.suffix(local))
	}
	return names, nil
}
