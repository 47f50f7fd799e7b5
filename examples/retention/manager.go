package main

import (
	"context"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// limits are the settings as they are in one round.
type limits struct {
	lock, hold, logKeep time.Duration
	batch               int
	dryRun              bool
}

// manager looks after the tables of one database. It keeps nothing that it would
// miss after a restart: what was begun is in the tables of its schema, and
// everything else in the catalogs.
type manager struct {
	session
	limits limits
	report func(*elog.ErrorData)
	clock  *time.Time // what time it is, or nil to ask the server

	me      string // current_user
	leading bool
	refused int // times that another worker had the lock
	blocked int // rounds in a row in which a lock was not to be had
}

func newManager(conn *connect.Conn, report func(*elog.ErrorData)) *manager {
	return &manager{session: newSession(conn), report: report}
}

// The key of the advisory lock: "RETE", 1.
const (
	lockClass  int32 = 0x52455445
	lockObject int32 = 1
)

// lead reports whether this is the worker of the database. There is one: it has
// the advisory lock, for as long as its session lives, and what it has asked of
// the server is over by the time another one gets it.
func (m *manager) lead(ctx context.Context) (bool, error) {
	if m.leading {
		return true, nil
	}
	locked, err := value[bool](ctx, m.statements, "SELECT pg_try_advisory_lock($1, $2)", lockClass, lockObject)
	if err != nil || !locked {
		return false, err
	}
	if m.me, err = value[string](ctx, m.statements, "SELECT current_user::text"); err != nil {
		return false, err
	}
	if err := m.migrate(ctx); err != nil {
		return false, err
	}
	m.leading = true
	m.logf("retention: looking after the tables of database \"%s\"", m.conn.Database())
	return true, nil
}

func (m *manager) logf(format string, args ...any) {
	m.report(elog.New(elog.Log, elog.SuccessfulCompletion, format, args...))
}

// result says how to go on after a round.
type result struct {
	blocked int  // rounds in a row in which a lock was not to be had
	more    bool // there is work left that nothing keeps from being done
}

// round follows all policies once. What one of them cannot be followed for is
// reported and hurts no other; an error means that the session is of no use.
func (m *manager) round(ctx context.Context) (result, error) {
	if _, err := m.exec(ctx, "SELECT set_config('lock_timeout', $1, false)", milliseconds(m.limits.lock)); err != nil {
		return result{}, err
	}
	policies, err := m.policies(ctx)
	if err != nil {
		return result{}, err
	}
	var r result
	blocked := false
	for _, p := range policies {
		if p.Mode == "off" {
			continue
		}
		j := job{manager: m, policy: p, dry: m.limits.dryRun || p.Mode == "dry_run"}
		if err := j.run(ctx); err != nil {
			return result{}, err
		}
		blocked, r.more = blocked || j.blocked, r.more || j.more
	}
	if blocked {
		m.blocked++
	} else {
		m.blocked = 0
	}
	r.blocked = m.blocked
	if m.limits.dryRun {
		return r, nil
	}
	if err := m.forget(ctx); err != nil {
		return result{}, err
	}
	_, err = m.exec(ctx, "DELETE FROM retention.log WHERE at < now() - $1 * interval '1 second'", m.limits.logKeep.Seconds())
	return r, err
}

// asOwner runs work in a transaction as the owner of the policy's table.
func (m *manager) asOwner(ctx context.Context, p policy, work func(ctx context.Context, tx statements) error) error {
	return m.transaction(ctx, func(ctx context.Context, tx statements) error {
		return m.asOwnerIn(ctx, tx, p, func() error { return work(ctx, tx) })
	})
}

// asOwnerIn runs work as the owner of the policy's table. Whatever reads or
// writes rows, or creates tables, does so as their owner: a table can make whoever
// touches it run code, and what is new shall belong to whom the rest belongs to.
// If work fails, so does the transaction, which ends the role.
func (m *manager) asOwnerIn(ctx context.Context, tx statements, p policy, work func() error) error {
	if p.OwnerIsMe {
		return work()
	}
	if _, err := tx.exec(ctx, "SET LOCAL ROLE "+quote(p.Owner)); err != nil {
		return err
	}
	if err := work(); err != nil {
		return err
	}
	_, err := tx.exec(ctx, "SET LOCAL ROLE "+quote(m.me))
	return err
}

// brief runs work in a transaction that does not keep applications waiting for
// long.
func (m *manager) brief(ctx context.Context, work func(ctx context.Context, tx statements) error) error {
	return m.transaction(ctx, func(ctx context.Context, tx statements) error {
		if err := tx.hold(ctx, m.limits.hold); err != nil {
			return err
		}
		return work(ctx, tx)
	})
}
