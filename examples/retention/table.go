package main

import (
	"context"
	"fmt"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// policy is a row of retention.policy, with what the catalogs say of its table.
// The fields are in the order of policyQuery.
type policy struct {
	Parent  uint32
	Version string // changes whenever somebody changes the row
	Mode    string

	ByInteger     bool   // every_n rather than every
	Months        int    // of every
	Micros        int64  // of every, without the months
	EveryN        int64  // or 0
	Premake       int    //
	KeepN         *int64 // of keep_n
	Keeps         bool   // keep or keep_n is given: partitions expire
	OnExpiry      string
	ArchiveSchema string
	MovesRows     bool // on_default = 'move'
	MoveLimit     int64
	OriginN       int64
	Naming        string
	CopyGrants    bool

	// Of the table. Strings are empty and numbers 0 where there is nothing.
	Schema, Name string
	Kind         string // pg_class.relkind
	Persistence  string
	Owner        string
	OwnerIsMe    bool
	RowSecurity  bool
	Tablespace   string
	AccessMethod string
	Strategy     string // pg_partitioned_table.partstrat
	KeyColumns   int
	Key          string // the key's column, or "" for an expression
	KeyType      string
	Default      uint32 // the default partition
}

const policyQuery = `
SELECT p.parent::oid, p.xmin::text, p.mode,
	p.every IS NULL,
	coalesce(extract(year FROM p.every) * 12 + extract(month FROM p.every), 0)::int,
	coalesce(extract(epoch FROM p.every - make_interval(months => (extract(year FROM p.every) * 12 + extract(month FROM p.every))::int)) * 1000000, 0)::bigint,
	coalesce(p.every_n, 0), p.premake, p.keep_n, num_nonnulls(p.keep, p.keep_n) > 0,
	p.on_expiry, coalesce(p.archive_schema, '')::text, p.on_default = 'move', p.move_limit, p.origin_n, p.naming, p.copy_grants,
	coalesce(n.nspname, '')::text, coalesce(c.relname, p.parent::text)::text, coalesce(c.relkind, '')::text, coalesce(c.relpersistence, '')::text,
	coalesce(o.rolname, '')::text, coalesce(o.rolname = current_user, false), coalesce(c.relrowsecurity, false),
	coalesce(s.spcname, '')::text, coalesce(am.amname, '')::text,
	coalesce(t.partstrat, '')::text, coalesce(t.partnatts, 0), coalesce(a.attname, '')::text, coalesce(format_type(a.atttypid, NULL), ''), coalesce(t.partdefid, 0)
FROM retention.policy p
LEFT JOIN pg_class c ON c.oid = p.parent
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_roles o ON o.oid = c.relowner
LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
LEFT JOIN pg_am am ON am.oid = c.relam
LEFT JOIN pg_partitioned_table t ON t.partrelid = c.oid
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = t.partattrs[0]
ORDER BY p.parent`

func (m *manager) policies(ctx context.Context) ([]policy, error) {
	return structs[policy](ctx, m.statements, policyQuery)
}

// quoted returns the table's name for SQL, and String for people.
func (p policy) quoted() string { return quote(p.Schema, p.Name) }

func (p policy) String() string {
	if p.Schema == "" {
		return p.Name
	}
	return p.Schema + "." + p.Name
}

// check returns a report of what makes it impossible to follow the policy, or
// nil. What the row itself can say is in its constraints.
func (p policy) check() *elog.ErrorData {
	refuse := func(code elog.SQLState, format string, args ...any) *elog.ErrorData {
		return elog.New(elog.Warning, code, format, args...)
	}
	switch {
	case p.Schema == "":
		return refuse(undefinedTable, "table of a policy does not exist").
			WithHint("DELETE FROM retention.policy WHERE parent = %s.", p.Name)
	case p.Kind != "p":
		return refuse(elog.WrongObjectType, "\"%s\" is not a partitioned table", p)
	case p.Persistence == "t":
		return refuse(elog.FeatureNotSupported, "\"%s\" is a temporary table", p)
	case p.Strategy != "r" || p.KeyColumns != 1 || p.Key == "":
		return refuse(elog.FeatureNotSupported, "table \"%s\" is not partitioned by range of one column", p)
	case p.keyKind() == nil:
		return refuse(elog.FeatureNotSupported, "partition key of table \"%s\" has type %s", p, p.KeyType).
			WithDetail("Types timestamp with and without time zone, date, smallint, integer and bigint are supported.")
	case p.ByInteger != p.keyKind().integer:
		return refuse(elog.InvalidParameterValue, "policy of table \"%s\" does not fit the type %s of its partition key", p, p.KeyType).
			WithHint("Times need \"every\" and \"keep\", integers \"every_n\" and \"keep_n\".")
	case p.KeyType == "date" && p.Micros%microsADay != 0:
		return refuse(elog.InvalidParameterValue, "partition key of table \"%s\" is a date, its partitions must last whole days", p)
	case p.CopyGrants && p.RowSecurity:
		return refuse(elog.FeatureNotSupported, "grants of table \"%s\" are not copied, because it has row-level security", p).
			WithDetail("Whoever may read a partition directly goes round the policies of its parent.").
			WithHint("UPDATE retention.policy SET copy_grants = false.")
	}
	return nil
}

const (
	undefinedTable   elog.SQLState = "42P01"
	checkViolation   elog.SQLState = "23514"
	lockNotAvailable elog.SQLState = "55P03"
)

const microsADay = 24 * 60 * 60 * 1_000_000

// partition is a partition as the catalogs have it.
type partition struct {
	OID           uint32
	Schema, Name  string
	Kind          string
	IsDefault     bool
	DetachPending bool
	Lower, Upper  int64 // ordinals; 0 for the default partition
	Journaled     bool  // its retirement has begun
}

func (p partition) quoted() string { return quote(p.Schema, p.Name) }
func (p partition) String() string { return p.Schema + "." + p.Name }

// partitions returns the partitions of a table, the default partition last and
// the others by their bounds.
func (m *manager) partitions(ctx context.Context, p policy) ([]partition, error) {
	kind := p.keyKind()
	return structs[partition](ctx, m.statements, fmt.Sprintf(`
		SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text,
			b.expr = 'DEFAULT', i.inhdetachpending, coalesce(%s, 0), coalesce(%s, 0),
			EXISTS (SELECT FROM retention.retiring r WHERE r.partition = c.oid)
		FROM pg_inherits i
		JOIN pg_class c ON c.oid = i.inhrelid
		JOIN pg_namespace n ON n.oid = c.relnamespace,
		LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS expr) b,
		LATERAL (SELECT regexp_match(b.expr, '^FOR VALUES FROM \((.*)\) TO \((.*)\)$') AS bounds) v
		WHERE i.inhparent = $1
		ORDER BY b.expr = 'DEFAULT', 7`,
		kind.ordinal("v.bounds[1]"), kind.ordinal("v.bounds[2]")), p.Parent)
}
