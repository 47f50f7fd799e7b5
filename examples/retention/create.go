package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// createAll creates the partitions that are missing, as many as a batch is.
func (j *job) createAll(ctx context.Context, spans []span) error {
	if len(spans) > j.limits.batch {
		spans, j.more = spans[:j.limits.batch], true
	}
	if len(spans) == 0 {
		return nil
	}
	names, err := j.names(ctx, j.policy, spans)
	if err != nil {
		return err
	}
	for i, s := range spans {
		bounds, err := j.policy.keyKind().bounds(s)
		if err != nil {
			return err
		}
		c := creation{job: j, span: s, bounds: bounds, schema: j.policy.Schema, name: names[i]}
		what := fmt.Sprintf("create partition \"%s.%s\" %s", c.schema, c.name, bounds)
		ok, err := j.do(ctx, what, c.run)
		if err != nil {
			return err
		}
		if !ok {
			// What has failed would fail again at once, and again.
			j.more = false
		}
		if j.blocked {
			return nil
		}
	}
	return nil
}

// creation is the making of one partition.
type creation struct {
	*job
	span         span
	bounds       string
	schema, name string

	defaultPartition string // for SQL, or ""
	condition        string // that rows of the default partition belong here
	moved            int64
}

func (c *creation) quoted() string { return quote(c.schema, c.name) }

// run makes the partition in one transaction, so that nothing can be left half
// done. The table is made first and attached then: ATTACH PARTITION keeps neither
// readers nor writers of the parent waiting, CREATE TABLE … PARTITION OF both.
func (c *creation) run(ctx context.Context) error {
	if err := c.lookAhead(ctx); err != nil {
		return err
	}
	return c.brief(ctx, func(ctx context.Context, tx statements) error {
		err := c.asOwnerIn(ctx, tx, c.policy, func() error { return c.make(ctx, tx) })
		if err != nil {
			return err
		}
		detail := c.bounds
		if c.moved > 0 {
			detail += fmt.Sprintf(", with %d rows of the default partition", c.moved)
		}
		return c.record(ctx, tx, c.schema+"."+c.name, "created", detail)
	})
}

// make runs as the owner of the table.
func (c *creation) make(ctx context.Context, tx statements) error {
	if c.defaultPartition != "" {
		// A row on its way to the default partition would be refused there, once it
		// belongs to a new one. This waits for such rows, and keeps new ones waiting
		// where they still can be led elsewhere.
		if _, err := tx.exec(ctx, "LOCK TABLE "+c.policy.quoted()+" IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
	}
	if _, err := tx.exec(ctx, c.progress()+c.createSQL()); err != nil {
		return err
	}
	if c.defaultPartition != "" {
		if err := c.moveRows(ctx, tx); err != nil {
			return err
		}
	}
	_, err := tx.exec(ctx, c.progress()+"ALTER TABLE "+c.policy.quoted()+" ATTACH PARTITION "+c.quoted()+" "+c.bounds)
	if err != nil || !c.policy.CopyGrants {
		return err
	}
	return c.copyGrants(ctx, tx)
}

// createSQL makes a table like those that CREATE TABLE … PARTITION OF makes.
// Indexes, foreign keys and triggers come with ATTACH PARTITION.
func (c *creation) createSQL() string {
	var sql strings.Builder
	fmt.Fprintf(&sql, "CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION)",
		c.quoted(), c.policy.quoted())
	if c.policy.AccessMethod != "" {
		sql.WriteString(" USING " + quote(c.policy.AccessMethod))
	}
	if c.policy.Tablespace != "" {
		sql.WriteString(" TABLESPACE " + quote(c.policy.Tablespace))
	}
	return sql.String()
}

// copyGrants gives the partition the grants of its parent, on the table and on
// its columns, as they are now.
func (c *creation) copyGrants(ctx context.Context, tx statements) error {
	grants, err := values[string](ctx, tx, `
		SELECT format('GRANT %s%s ON %s TO %s%s', a.privilege_type, a.columns, $2::text,
			CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END,
			CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
		FROM (
			SELECT acl.*, '' AS columns FROM pg_class c, aclexplode(c.relacl) acl
			WHERE c.oid = $1 AND acl.grantee <> c.relowner
			UNION ALL
			SELECT acl.*, format(' (%I)', t.attname) FROM pg_attribute t, aclexplode(t.attacl) acl
			WHERE t.attrelid = $1 AND NOT t.attisdropped
		) AS a
		LEFT JOIN pg_roles r ON r.oid = a.grantee
		WHERE a.grantee = 0 OR r.oid IS NOT NULL`, c.policy.Parent, c.quoted())
	if err != nil {
		return err
	}
	for _, grant := range grants {
		if _, err := tx.exec(ctx, grant); err != nil {
			return err
		}
	}
	return nil
}

// lookAhead finds out, before anything is locked, whether rows of the default
// partition are in the way.
func (c *creation) lookAhead(ctx context.Context) (err error) {
	if c.policy.Default == 0 {
		return nil
	}
	if c.defaultPartition, err = c.defaultName(ctx, c.policy); err != nil {
		return err
	}
	if c.condition, err = c.policy.keyKind().within(c.policy.Key, c.span); err != nil {
		return err
	}
	return c.asOwner(ctx, c.policy, func(ctx context.Context, tx statements) error {
		_, err := c.countRows(ctx, tx)
		return err
	})
}

// countRows returns how many rows of the default partition belong to the new
// one. More than may be moved are a problem that somebody has to look at.
func (c *creation) countRows(ctx context.Context, tx statements) (int64, error) {
	limit := int64(0)
	if c.policy.MovesRows {
		limit = c.policy.MoveLimit
	}
	count, err := value[int64](ctx, tx, fmt.Sprintf("SELECT count(*) FROM (SELECT FROM %s WHERE %s LIMIT %d + 1) AS r", c.defaultPartition, c.condition, limit))
	if err != nil || count <= limit {
		return count, err
	}
	problem := elog.New(elog.Warning, checkViolation, "partition \"%s.%s\" was not created, because its rows are in the default partition", c.schema, c.name)
	if !c.policy.MovesRows {
		return 0, problem.WithDetail("Default partition %s has rows %s.", c.defaultPartition, c.bounds).
			WithHint("Move them yourself, or UPDATE retention.policy SET on_default = 'move'.")
	}
	return 0, problem.WithDetail("Default partition %s has more than %d rows %s.", c.defaultPartition, limit, c.bounds).
		WithHint("Nobody can write to the table while they are moved. If that is acceptable, raise \"move_limit\" in retention.policy and the setting \"retention.hold_timeout\".")
}

// moveRows moves rows from the default partition to the new table, which is no
// partition yet. Until the transaction ends nobody sees any of that.
func (c *creation) moveRows(ctx context.Context, tx statements) error {
	// Now, with the lock: there may be other rows than before.
	count, err := c.countRows(ctx, tx)
	if err != nil || count == 0 {
		return err
	}
	movable, err := value[bool](ctx, tx, `SELECT c.relkind = 'r' AND NOT EXISTS (
			SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled <> 'D' AND t.tgtype & 8 <> 0)
		FROM pg_class c WHERE c.oid = $1`, c.policy.Default)
	if err != nil {
		return err
	}
	if !movable {
		return elog.New(elog.Warning, elog.FeatureNotSupported, "rows of default partition %s cannot be moved", c.defaultPartition).
			WithDetail("It is no ordinary table, or has triggers that act when rows are deleted, such as those of a foreign key that refers to it.").
			WithHint("Move the rows %s yourself.", c.bounds)
	}
	columns, err := value[string](ctx, tx, `SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
		FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`, c.policy.Default)
	if err != nil {
		return err
	}
	c.moved, err = tx.exec(ctx, fmt.Sprintf("%sWITH moved AS (DELETE FROM %s WHERE %s RETURNING %s) INSERT INTO %[5]s (%[4]s) SELECT %[4]s FROM moved",
		c.progress(), c.defaultPartition, c.condition, columns, c.quoted()))
	return err
}

// lookIntoDefault notes down whether the default partition has any rows, which
// is for people to know.
func (j *job) lookIntoDefault(ctx context.Context) error {
	if j.policy.Default == 0 {
		return nil
	}
	name, err := j.defaultName(ctx, j.policy)
	if err != nil {
		return err
	}
	return j.asOwner(ctx, j.policy, func(ctx context.Context, tx statements) error {
		j.inDefault, err = value[bool](ctx, tx, "SELECT EXISTS (SELECT FROM "+name+")")
		return err
	})
}
