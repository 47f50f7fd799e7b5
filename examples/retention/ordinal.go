package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Values of a partition key are ordinals here: integers as they are, times as
// microseconds since 1970, UTC for timestamptz and local for the others. So the
// rules of plan.go are the same for all, and are arithmetic. What depends on the
// calendar is asked of the server, whose time zones are the ones that count.

// The ordinals that stand for MINVALUE and -infinity, and MAXVALUE and infinity.
const (
	minOrdinal = math.MinInt64
	maxOrdinal = math.MaxInt64
)

// span is a range of ordinals, without its upper bound.
type span struct{ Lower, Upper int64 }

func (s span) empty() bool { return s.Lower >= s.Upper }

// keyKind is what there is to know of a type that tables may be partitioned by.
type keyKind struct {
	name     string
	integer  bool
	greatest int64  // of an integer type
	layout   string // of a time, for literals
}

var keyKinds = []keyKind{
	{name: "smallint", integer: true, greatest: math.MaxInt16},
	{name: "integer", integer: true, greatest: math.MaxInt32},
	{name: "bigint", integer: true, greatest: math.MaxInt64},
	{name: "date", layout: "2006-01-02"},
	{name: "timestamp without time zone", layout: "2006-01-02 15:04:05.999999"},
	{name: "timestamp with time zone", layout: "2006-01-02 15:04:05.999999+00"},
}

// keyKind returns nil for a type that is not supported.
func (p policy) keyKind() *keyKind {
	for i := range keyKinds {
		if keyKinds[i].name == p.KeyType {
			return &keyKinds[i]
		}
	}
	return nil
}

// ordinal returns the SQL expression for the ordinal of a bound as pg_get_expr
// writes it.
func (k keyKind) ordinal(bound string) string {
	read := fmt.Sprintf("trim(both '''' FROM %s)::%s", bound, k.name)
	if !k.integer {
		read = k.ordinalOf(read)
	} else {
		read = "(" + read + ")::bigint"
	}
	return fmt.Sprintf("CASE %s WHEN 'MINVALUE' THEN '%d'::bigint WHEN 'MAXVALUE' THEN %d::bigint ELSE %s END",
		bound, int64(minOrdinal), int64(maxOrdinal), read)
}

// ordinalOf returns the SQL expression for the ordinal of a value of the type,
// which is null for null.
func (k keyKind) ordinalOf(value string) string {
	if k.integer {
		return "(" + value + ")::bigint"
	}
	return fmt.Sprintf("CASE WHEN isfinite(%[1]s) THEN (extract(epoch FROM %[1]s) * 1000000)::bigint WHEN %[1]s = '-infinity' THEN '%[2]d'::bigint WHEN %[1]s = 'infinity' THEN %[3]d::bigint END",
		value, int64(minOrdinal), int64(maxOrdinal))
}

// literal returns an ordinal as a bound for SQL. It returns an error with
// SQLSTATE 22023 for a time that is not in the years 1 to 9999.
func (k keyKind) literal(ordinal int64) (string, error) {
	switch {
	case ordinal == minOrdinal:
		return "MINVALUE", nil
	case ordinal == maxOrdinal:
		return "MAXVALUE", nil
	case k.integer:
		return "'" + strconv.FormatInt(ordinal, 10) + "'", nil
	}
	t := time.UnixMicro(ordinal).UTC()
	if t.Year() < 1 || t.Year() > 9999 {
		return "", elog.New(elog.Warning, elog.InvalidParameterValue, "boundary of a partition is out of range").
			WithDetail("It would be in the year %d.", t.Year())
	}
	return "'" + t.Format(k.layout) + "'", nil
}

// bounds returns the FOR VALUES clause of a span.
func (k keyKind) bounds(s span) (string, error) {
	lower, err := k.literal(s.Lower)
	if err != nil {
		return "", err
	}
	upper, err := k.literal(s.Upper)
	if err != nil {
		return "", err
	}
	return "FOR VALUES FROM (" + lower + ") TO (" + upper + ")", nil
}

// within returns the condition that a column is in a span.
func (k keyKind) within(column string, s span) (string, error) {
	var parts []string
	for _, b := range []struct {
		operator string
		bound    int64
		none     int64
	}{{">=", s.Lower, minOrdinal}, {"<", s.Upper, maxOrdinal}} {
		if b.bound == b.none {
			continue
		}
		literal, err := k.literal(b.bound)
		if err != nil {
			return "", err
		}
		parts = append(parts, fmt.Sprintf("%s OPERATOR(pg_catalog.%s) %s::%s", quote(column), b.operator, literal, k.name))
	}
	if len(parts) == 0 {
		return quote(column) + " IS NOT NULL", nil
	}
	return strings.Join(parts, " AND "), nil
}
