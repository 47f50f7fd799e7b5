package launcher

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql"
)

// knownVersions are the versions of the schema that this launcher can serve.
var knownVersions = map[string]bool{"1.0": true}

// The keys of the advisory lock of who serves a database; view pgexthost.hosts
// looks for it. Package sql has another second key.
const (
	lockClass = 0x70676578 // "pgex" in ASCII
	ownerLock = 1
)

// errOwnedByOther says that another session serves the database.
var errOwnedByOther = errors.New("another host serves it")

// errLostOwnership says that somebody else has become the owner meanwhile.
var errLostOwnership = errors.New("another host has taken over")

// notInstalled says that the database has no schema of ours.
func notInstalled() error {
	return elog.New(elog.Error, elog.ObjectNotInPrerequisite, "schema \"pgexthost\" is not installed there").
		WithHint("Use \"pgexthost extension install pgexthost\".")
}

// sessionOptions make the session's statements mean what they say, whatever the
// role or the database has set.
func sessionOptions() []connect.Option {
	return []connect.Option{
		connect.IgnoreDatabaseRole(),
		connect.WithSetting("search_path", "pg_catalog, pg_temp"),
		connect.WithSetting("default_transaction_isolation", "read committed"),
		connect.WithSetting("default_transaction_read_only", "off"),
		connect.WithSetting("lock_timeout", "10s"),
		connect.WithSetting("statement_timeout", "0"), // there is passLimit
		connect.WithSetting("idle_session_timeout", "0"),
	}
}

// tables are the tables of one database, as the host that serves it sees them.
type tables struct {
	conn        *connect.Conn
	host        string
	incarnation string
	oid         uint32 // of table request
	epoch       int64
	// owner: the host serves the database. Otherwise it sees only what it has
	// started itself, which is nobody else's business.
	owner bool
}

// prepare makes the session one of the launcher.
func (t *tables) prepare(ctx context.Context) error {
	exists, err := sql.CheckOwner(ctx, t.conn)
	switch {
	case err != nil:
		return err
	case !exists:
		return notInstalled()
	}
	var version string
	err = t.conn.QueryRow(ctx, "SELECT version, 'pgexthost.request'::regclass::oid FROM pgexthost.extension WHERE name = 'pgexthost'").Scan(&version, &t.oid)
	switch {
	case connect.SQLState(err) == "42P01", errors.Is(err, pgx.ErrNoRows):
		return notInstalled()
	case err != nil:
		return err
	case !knownVersions[version]:
		return elog.New(elog.Error, elog.ObjectNotInPrerequisite, "version %s of schema \"pgexthost\" is not known", version).
			WithHint("Use \"pgexthost extension upgrade pgexthost\", or a later pgexthost.")
	}
	// A commit that the server could lose would have started nothing.
	_, err = t.conn.Exec(ctx, "SELECT set_config('synchronous_commit', 'local', false) WHERE current_setting('synchronous_commit') = 'off'")
	if err == nil {
		_, err = t.conn.Exec(ctx, "LISTEN pgexthost")
	}
	return err
}

// own makes the host the one that serves the database, unless another does.
func (t *tables) own(ctx context.Context, postmasterPid int) error {
	var locked bool
	if err := t.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, $2)", lockClass, ownerLock).Scan(&locked); err != nil {
		return err
	}
	if !locked {
		return errOwnedByOther
	}
	failpoint.Here(failpoint.DatabaseLocked)
	// Waits for a transaction of the owner before, if one is still at it.
	err := t.conn.QueryRow(ctx, `UPDATE pgexthost.owner SET epoch = epoch + 1, host = $1, incarnation = $2, postmaster_pid = $3, session_pid = pg_backend_pid(), since = now()
		RETURNING epoch`, t.host, t.incarnation, postmasterPid).Scan(&t.epoch)
	if err != nil {
		return err
	}
	failpoint.Here(failpoint.DatabaseTaken)
	_, err = t.conn.Exec(ctx, "DELETE FROM pgexthost.published WHERE host <> $1::uuid", t.host)
	t.owner = err == nil
	return err
}

// declare makes a request for each declared worker that has none, once its pause
// is over, though not twice within a second: one that ends at once, with a pause of
// 0, would fill the table. It ends those that are not declared any more, or otherwise.
func (t *tables) declare(ctx context.Context) error {
	var batch pgx.Batch
	batch.Queue(`UPDATE pgexthost.request r
		SET terminate_by = 'pgexthost.worker', terminate_at = now(), state = CASE state WHEN 'pending' THEN 'cancelled' ELSE state END,
		    ended_at = CASE state WHEN 'pending' THEN now() END
		WHERE id IN (SELECT q.id FROM pgexthost.request q
			WHERE q.state IN ('pending', 'started') AND q.declared IS NOT NULL AND q.terminate_at IS NULL
			  AND NOT EXISTS (SELECT FROM pgexthost.worker w WHERE w.name = q.declared AND w.revision = q.revision)
			FOR UPDATE SKIP LOCKED)`)
	batch.Queue(`INSERT INTO pgexthost.request (library, function, name, type, main_arg, extra, restart_time, start_time, declared, revision, requested_by)
		SELECT w.library, w.function, w.name, coalesce(nullif(w.type, ''), w.name), w.main_arg, w.extra, w.restart_time, w.start_time, w.name, w.revision, w.declared_by
		FROM pgexthost.worker w
		WHERE NOT EXISTS (SELECT FROM pgexthost.request r WHERE r.declared = w.name AND r.state IN ('pending', 'started'))
		  AND NOT EXISTS (SELECT FROM pgexthost.request r WHERE r.name = w.name AND r.declared = w.name AND r.revision = w.revision
			AND r.state IN ('ended', 'failed', 'cancelled')
			AND (r.ended_at > now() - make_interval(secs => w.restart_time) OR r.requested_at > now() - interval '1 second'))
		ON CONFLICT (declared) WHERE state IN ('pending', 'started') DO NOTHING`)
	err := t.conn.SendBatch(ctx, &batch).Close()
	failpoint.Here(failpoint.WorkersDeclared)
	return err
}

// mostPending is how many pending requests one pass looks at, the oldest first.
const mostPending = 1000

// load returns the live requests: those that this host has started, and pending
// ones, if it is the owner.
func (t *tables) load(ctx context.Context) ([]row, error) {
	limit := 0
	if t.owner {
		limit = mostPending
	}
	const columns = `id, state = 'started', terminate_at IS NOT NULL, library, function, name, type, main_arg, extra, restart_time, start_time, interruptible,
		coalesce(host = $1 AND incarnation = $2 AND database = $3, false), coalesce(database <> $3, false), coalesce(handle, ''), coalesce(pid, 0), coalesce(sqlstate, ''), coalesce(message, '')`
	rows, err := t.conn.Query(ctx, `SELECT `+columns+` FROM pgexthost.request WHERE state = 'started' AND host = $1
		UNION ALL (SELECT `+columns+` FROM pgexthost.request WHERE state = 'pending' ORDER BY id LIMIT $4)`,
		t.host, t.incarnation, t.conn.DatabaseOID(), limit)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, scanRow)
	for i := range all {
		all[i].Number = numberOf(all[i].ID, t.conn.DatabaseOID())
	}
	return all, err
}

func scanRow(from pgx.CollectableRow) (row, error) {
	var r row
	var extra []byte
	var start string
	var restart int32
	var interruptible bool
	err := from.Scan(&r.ID, &r.Started, &r.Terminate, &r.Worker.LibraryName, &r.Worker.FunctionName, &r.Worker.Name, &r.Worker.Type, &r.Worker.MainArg,
		&extra, &restart, &start, &interruptible, &r.Ours, &r.Foreign, &r.Handle, &r.Pid, &r.SQLState, &r.Message)
	r.Worker.RestartTime = int(restart)
	r.Worker.Flags = plugins.ShmemAccess | plugins.BackendDatabaseConnection
	switch start {
	case "postmaster":
		r.Worker.Flags = plugins.ShmemAccess
	case "consistent":
		r.Worker.StartTime = plugins.StartAtConsistentState
	default:
		r.Worker.StartTime = plugins.StartAtRecoveryFinished
	}
	if interruptible {
		r.Worker.Flags |= plugins.Interruptible
	}
	// The functions have refused these; but whoever owns the tables can write them.
	switch {
	case strings.Contains(r.Worker.LibraryName, "/"), r.Worker.LibraryName == "postgres":
		r.Refusal = "functions of library \"" + r.Worker.LibraryName + "\" cannot be launched from SQL"
	case copy(r.Worker.Extra[:], extra) < len(extra):
		r.Refusal = "extra data are longer than 128 bytes"
	}
	return r, err
}

// change is what a pass wants to write about a request.
type change struct {
	id      int64
	old     string // the handle that the row had
	foreign bool   // and that of another database's row, too
	step
}

// The row to be changed, unless somebody has it locked. A claim is for one that is
// as it was seen.
const (
	toClaim = `(SELECT q.id FROM pgexthost.request q WHERE q.id = $1 AND q.terminate_at IS NULL
		AND (q.state = 'pending' OR q.state = 'started' AND q.host = $2 AND q.handle = $7) FOR UPDATE SKIP LOCKED)`
	toChange = `(SELECT q.id FROM pgexthost.request q WHERE q.id = $1
		AND (q.state = 'pending' OR q.state = 'started' AND q.host = $2) FOR UPDATE SKIP LOCKED)`
)

// write commits the changes, unless the host was the owner and is not any more, and
// returns how many rows have changed.
func (t *tables) write(ctx context.Context, changes []change) (changed int64, err error) {
	err = t.conn.InTransaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := t.checkOwner(ctx, tx); err != nil {
			return err
		}
		var batch pgx.Batch
		for _, c := range changes {
			t.queue(&batch, c)
		}
		results := tx.SendBatch(ctx, &batch)
		for range changes {
			tag, err := results.Exec()
			if err != nil {
				return errors.Join(err, results.Close())
			}
			changed += tag.RowsAffected()
		}
		err := results.Close()
		passed(changes, failpoint.StartWritten, failpoint.OutcomeWritten)
		return err
	})
	if err == nil {
		passed(changes, failpoint.StartCommitted, failpoint.OutcomeCommitted)
	}
	return changed, err
}

// passed says that the changes have come to a failpoint, each to that of its kind.
func passed(changes []change, started, settled failpoint.Point) {
	for _, c := range changes {
		switch c.do {
		case claim:
			failpoint.Here(started)
		case settle:
			failpoint.Here(settled)
		case nothing, register, release, terminate, note:
		}
	}
}

// checkOwner holds off the next owner until the transaction has ended, or finds out
// that there is one.
func (t *tables) checkOwner(ctx context.Context, tx pgx.Tx) error {
	if !t.owner {
		return nil
	}
	var epoch int64
	err := tx.QueryRow(ctx, "SELECT epoch FROM pgexthost.owner WHERE epoch = $1 FOR SHARE", t.epoch).Scan(&epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		return errLostOwnership
	}
	return err
}

func (t *tables) queue(batch *pgx.Batch, c change) {
	switch c.do {
	case claim:
		batch.Queue(`UPDATE pgexthost.request SET state = 'started', host = $2, incarnation = $3, database = $4, handle = $5, pid = $6,
			started_at = clock_timestamp(), sqlstate = NULL, message = NULL WHERE id = `+toClaim,
			c.id, t.host, t.incarnation, t.conn.DatabaseOID(), c.worker.Handle.String(), c.pid, c.old)
	case note:
		batch.Queue(`UPDATE pgexthost.request SET pid = nullif($3, 0), sqlstate = nullif($4, ''), message = nullif($5, '') WHERE id = `+toChange,
			c.id, t.host, c.pid, c.sqlstate, c.text)
	case settle:
		batch.Queue(`UPDATE pgexthost.request SET state = $3, ended_at = clock_timestamp(), exit_code = $4, sqlstate = nullif($5, ''), message = nullif($6, '')
			WHERE id = `+toChange, c.id, t.host, c.state, c.exitCode, c.sqlstate, c.text)
	case nothing, register, release, terminate:
	}
}

// publish shows the host's slots to the views.
func (t *tables) publish(ctx context.Context, slots string) error {
	_, err := t.conn.Exec(ctx, `INSERT INTO pgexthost.published (host, slots) VALUES ($1, $2::text::jsonb)
		ON CONFLICT (host) DO UPDATE SET at = now(), slots = EXCLUDED.slots`, t.host, slots)
	failpoint.Here(failpoint.SlotsPublished)
	return err
}

// forget deletes requests that are long done with.
func (t *tables) forget(ctx context.Context, minutes int) error {
	_, err := t.conn.Exec(ctx, `DELETE FROM pgexthost.request WHERE id IN (SELECT q.id FROM pgexthost.request q
		WHERE q.state IN ('ended', 'failed', 'cancelled') AND q.ended_at < now() - make_interval(mins => $1) FOR UPDATE SKIP LOCKED)`, minutes)
	return err
}
