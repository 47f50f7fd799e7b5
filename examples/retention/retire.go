package main

import (
	"context"
	"fmt"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// The retirement of a partition takes several transactions, because DETACH
// PARTITION CONCURRENTLY does:
//
//	attached ──► journaled ──► detach pending ──► detached ──► dropped, moved or left
//	   ▲             │              │ killed         │            journal entry deleted
//	   └─────────────┘              └──► FINALIZE ───┘
//	     has not expired
//	     after all
//
// The journal says no more than that it has begun, and with which table; how far
// it has come the catalogs say. What to do next the policy says, as it is then.

// retiring is a row of the journal, with what has become of the partition.
type retiring struct {
	OID           uint32
	Schema, Name  string // when it began
	Upper         int64
	Exists        bool
	SameName      bool
	AttachedTo    uint32
	DetachPending bool
}

func (r retiring) quoted() string { return quote(r.Schema, r.Name) }
func (r retiring) String() string { return r.Schema + "." + r.Name }

const retiringQuery = `
SELECT r.partition, r.schema_name::text, r.table_name::text, r.upper_bound,
	c.oid IS NOT NULL, coalesce(n.nspname = r.schema_name AND c.relname = r.table_name, false),
	coalesce(i.inhparent, 0), coalesce(i.inhdetachpending, false)
FROM retention.retiring r
LEFT JOIN pg_class c ON c.oid = r.partition
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_inherits i ON i.inhrelid = r.partition
WHERE r.parent = $1
ORDER BY i.inhdetachpending DESC NULLS LAST, r.upper_bound`

// retireAll completes the retirements that have begun, and begins those of the
// partitions that have expired since.
func (j *job) retireAll(ctx context.Context, s state, expired []partition) error {
	begun, err := structs[retiring](ctx, j.statements, retiringQuery, j.policy.Parent)
	if err != nil {
		return err
	}
	for _, r := range begun {
		retirement := retirement{j, r, s.cutoff}
		ok, err := j.do(ctx, fmt.Sprintf("complete the retirement of partition \"%s\"", r), retirement.run)
		if err != nil || !ok && j.blocked {
			return err
		}
	}
	if len(expired) > j.limits.batch {
		expired, j.more = expired[:j.limits.batch], j.problem == nil
	}
	for _, part := range expired {
		if part.Journaled || j.blocked {
			continue
		}
		r := retirement{j, retiring{OID: part.OID, Schema: part.Schema, Name: part.Name, Upper: part.Upper, Exists: true,
			SameName: true, AttachedTo: j.policy.Parent, DetachPending: part.DetachPending}, s.cutoff}
		ok, err := j.do(ctx, fmt.Sprintf("retire partition \"%s\": %s", part, j.policy.OnExpiry), func(ctx context.Context) error {
			if err := r.begin(ctx, part); err != nil {
				return err
			}
			return r.run(ctx)
		})
		if err != nil {
			return err
		}
		j.more = j.more && ok
	}
	return nil
}

// retirement is the way of one partition out.
type retirement struct {
	*job
	retiring
	cutoff int64
}

func (r retirement) expired() bool { return r.Upper <= r.cutoff }

// begin writes the journal.
func (r retirement) begin(ctx context.Context, part partition) error {
	switch {
	case part.DetachPending:
		return elog.New(elog.Warning, elog.ObjectNotInPrerequisite, "somebody else is detaching partition \"%s\", or was interrupted", part).
			WithHint("ALTER TABLE %s DETACH PARTITION %s FINALIZE.", r.policy.quoted(), part.quoted())
	case part.Kind != "r" && part.Kind != "p":
		return elog.New(elog.Warning, elog.FeatureNotSupported, "partition \"%s\" is not retired, because it is no ordinary table", part)
	}
	return r.transaction(ctx, func(ctx context.Context, tx statements) error {
		if err := r.holdPolicy(ctx, tx); err != nil {
			return err
		}
		_, err := tx.exec(ctx, "INSERT INTO retention.retiring (partition, parent, schema_name, table_name, upper_bound) VALUES ($1, $2, $3, $4, $5)",
			r.OID, r.policy.Parent, r.Schema, r.Name, r.Upper)
		return err
	})
}

// holdPolicy makes sure that the policy is what it was when this round began,
// and stays so until the transaction ends. Nothing is taken away because of a
// policy that somebody has just changed.
func (r retirement) holdPolicy(ctx context.Context, tx statements) error {
	held, err := values[bool](ctx, tx, "SELECT true FROM retention.policy WHERE parent = $1 AND xmin::text = $2 FOR SHARE", r.policy.Parent, r.policy.Version)
	if err == nil && len(held) == 0 {
		err = elog.New(elog.Error, elog.SerializationFailure, "the policy was changed meanwhile")
	}
	return err
}

// run goes on from wherever the partition is.
func (r retirement) run(ctx context.Context) error {
	switch {
	case !r.Exists:
		return r.close(ctx, "gone", "Somebody else has dropped it.")
	case !r.SameName:
		return r.close(ctx, "left alone", "Somebody has renamed it.")
	case r.AttachedTo != 0 && r.AttachedTo != r.policy.Parent:
		return r.close(ctx, "left alone", "Somebody has attached it to another table.")
	case r.DetachPending:
		if err := r.finalize(ctx); err != nil {
			return err
		}
	case r.AttachedTo != 0 && !r.expired():
		return r.close(ctx, "kept", "It has not expired after all.")
	case r.AttachedTo != 0:
		if err := r.detach(ctx); err != nil {
			return err
		}
	}
	return r.finish(ctx)
}

// detach lets nobody wait if it can. The server refuses to detach concurrently
// where there is a default partition; then writers and readers wait, for as long
// as a change of the catalogs takes.
func (r retirement) detach(ctx context.Context) error {
	sql := r.progress() + "ALTER TABLE " + r.policy.quoted() + " DETACH PARTITION " + r.quoted()
	if r.policy.Default == 0 {
		_, err := r.exec(ctx, sql+" CONCURRENTLY")
		return err
	}
	return r.brief(ctx, func(ctx context.Context, tx statements) error {
		_, err := tx.exec(ctx, sql)
		return err
	})
}

// finalize completes a DETACH PARTITION CONCURRENTLY that was interrupted.
func (r retirement) finalize(ctx context.Context) error {
	return r.brief(ctx, func(ctx context.Context, tx statements) error {
		_, err := tx.exec(ctx, r.progress()+"ALTER TABLE "+r.policy.quoted()+" DETACH PARTITION "+r.quoted()+" FINALIZE")
		return err
	})
}

// finish does with the detached table what the policy says, and closes the
// journal entry, in one transaction.
func (r retirement) finish(ctx context.Context) error {
	if !r.expired() {
		return r.close(ctx, "detached", "The policy has changed since it expired; it is kept. To have it back, attach it.")
	}
	return r.brief(ctx, func(ctx context.Context, tx statements) error {
		if err := r.holdPolicy(ctx, tx); err != nil {
			return err
		}
		action, detail := "detached", ""
		switch r.policy.OnExpiry {
		case "drop":
			action = "dropped"
			if err := r.alter(ctx, tx, "DROP TABLE "+r.quoted()); err != nil {
				return err
			}
		case "move":
			action, detail = "moved", "to schema "+r.policy.ArchiveSchema
			if err := r.alter(ctx, tx, "ALTER TABLE "+r.quoted()+" SET SCHEMA "+quote(r.policy.ArchiveSchema)); err != nil {
				return err
			}
		}
		return r.closeIn(ctx, tx, action, detail)
	})
}

// alter runs a command on the detached table, having made sure that it is still
// the one of the journal: a name can come to mean another table.
func (r retirement) alter(ctx context.Context, tx statements, command string) error {
	if _, err := tx.exec(ctx, "LOCK TABLE "+r.quoted()+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		return err
	}
	same, err := value[bool](ctx, tx, "SELECT count(*) = 1 FROM pg_class WHERE oid = $1 AND oid = to_regclass($2) AND NOT relispartition", r.OID, r.quoted())
	if err != nil {
		return err
	}
	if !same {
		return elog.New(elog.Error, elog.SerializationFailure, "table \"%s\" was replaced or attached meanwhile", r.retiring)
	}
	_, err = tx.exec(ctx, r.progress()+command)
	return err
}

// close ends a retirement without another word from the server.
func (r retirement) close(ctx context.Context, action, detail string) error {
	return r.transaction(ctx, func(ctx context.Context, tx statements) error {
		return r.closeIn(ctx, tx, action, detail)
	})
}

func (r retirement) closeIn(ctx context.Context, tx statements, action, detail string) error {
	if _, err := tx.exec(ctx, "DELETE FROM retention.retiring WHERE partition = $1", r.OID); err != nil {
		return err
	}
	return r.record(ctx, tx, r.String(), action, detail)
}

// forget completes what was begun for policies, or tables, that are gone: a
// partition is not left halfway out, and is kept.
func (m *manager) forget(ctx context.Context) error {
	type orphan struct {
		Parent       uint32
		Schema, Name string
	}
	orphans, err := structs[orphan](ctx, m.statements, `
		SELECT DISTINCT r.parent, coalesce(n.nspname, '')::text, coalesce(c.relname, r.parent::text)::text
		FROM retention.retiring r
		LEFT JOIN pg_class c ON c.oid = r.parent LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid IS NULL OR NOT EXISTS (SELECT FROM retention.policy p WHERE p.parent = r.parent)`)
	if err != nil {
		return err
	}
	for _, o := range orphans {
		p := policy{Parent: o.Parent, Schema: o.Schema, Name: o.Name}
		j := &job{manager: m, policy: p}
		begun, err := structs[retiring](ctx, m.statements, retiringQuery, p.Parent)
		if err != nil {
			return err
		}
		for _, r := range begun {
			if _, err := j.do(ctx, fmt.Sprintf("complete the retirement of partition \"%s\"", r), (retirement{j, r, minOrdinal}).run); err != nil {
				return err
			}
		}
		if j.problem != nil {
			m.report(j.problem)
		}
	}
	return nil
}
