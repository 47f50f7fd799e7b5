package connect

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// ajarRecord is the setting of a database that is ajar. Its value is the
// database's connection limit of before.
const ajarRecord = "pgexthost.bypass_allowconn"

// bypassLockClass is the first key of the advisory locks; the second is the
// database's OID.
const bypassLockClass = 0x70676578 // "pgex"

const (
	// mostOpenings bounds how often a database is opened for one connection.
	mostOpenings = 10
	// putBackLimit bounds putting back, which is done even if the worker has to end.
	putBackLimit = 3 * time.Second
	// invalidLimit is DATCONNLIMIT_INVALID_DB: its DROP DATABASE was interrupted.
	invalidLimit = -2
)

// closedDatabase is a database with ALLOW_CONNECTIONS false. The server lets no
// client in, whoever it is. To connect all the same, a session with the
// maintenance database, the keeper, opens the database for a moment:
//
//	         open: ALLOW_CONNECTIONS true
//	               CONNECTION LIMIT 0
//	               SET pgexthost.bypass_allowconn = the limit of before
//	closed ───────────────────────────────────────► ajar ──► the worker connects
//	  ▲                                              │
//	  └──────────── put back: all three ◄────────────┘
//
// A limit of 0 keeps out all but superusers. Each arrow between the states is one
// transaction, so the record of what has been changed is as durable as the
// change: it cannot be there without it, nor the other way round, whoever crashes
// and when. It is kept in the server, beside the database and not in the data
// directory of the host: it survives the host and its machine, any host with a
// session of the same server finds it, and it goes with the database.
//
// Whoever finds a database ajar may put it back. Advisory locks keep workers with
// one maintenance database from doing so to each other; they are a database's own,
// so a host with another maintenance database is not kept from it. A worker whose
// database has been put back too early opens it again.
type closedDatabase struct {
	keeper *Conn
	oid    uint32
	name   string
}

// lockKey is the second key of the advisory lock: any 32 bits will do.
func (d *closedDatabase) lockKey() int32 { return int32(d.oid) }

// databaseState is what pg_database says, and the record.
type databaseState struct {
	accepts bool
	limit   int
	ajar    bool // there is a record
	before  int  // the limit in the record
}

// openClosed opens a session even with a database that is closed.
func (h host) openClosed(ctx context.Context, config *Config) (*Conn, error) {
	if !h.mayBypass {
		return nil, elog.New(elog.Fatal, elog.ObjectNotInPrerequisite, "cannot bypass ALLOW_CONNECTIONS of database \"%s\"", config.Database()).
			WithDetail("\"%s\" is off.", settings.AllowBypassAllowConn).
			WithHint("With it, the database is open to all superusers while a worker connects.")
	}
	keeper, err := h.openKeeper(ctx)
	if err != nil {
		return nil, err
	}
	defer keeper.HangUp(ctx)
	d, err := findClosed(ctx, keeper, config.Database())
	if err != nil {
		return nil, err
	}
	state, err := d.state(ctx, keeper)
	if err != nil {
		return nil, err
	}
	if state.accepts && !state.ajar {
		return h.open(ctx, config)
	}
	return h.openAjar(ctx, d, config)
}

// openKeeper opens the session that opens and puts back. It waits for locks as
// long as it takes: those who hold them do no more than connect. What it does is
// no activity of the worker's.
func (h host) openKeeper(ctx context.Context) (*Conn, error) {
	h.opts, h.client.report = newOptions([]Option{WithSetting("lock_timeout", "0")}), nil
	return h.open(ctx, h.config)
}

// findClosed looks a database up, and who the keeper is.
func findClosed(ctx context.Context, keeper *Conn, name string) (*closedDatabase, error) {
	const query = `SELECT r.rolsuper, r.rolname, d.oid
FROM pg_catalog.pg_roles r LEFT JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) $1
WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER`
	row, err := lookUp(ctx, keeper, query, name)
	switch {
	case err != nil:
		return nil, err
	case row == nil:
		return nil, unexpectedAnswer()
	case row[0] != "t":
		return nil, elog.New(elog.Fatal, elog.InsufficientPrivilege, "permission denied to bypass ALLOW_CONNECTIONS of database \"%s\"", name).
			WithDetail("The host logs in as \"%s\", which is not a superuser.", row[1]).
			WithHint("Name a superuser in \"%s\", or allow connections to the database.", settings.ServerConninfo)
	case row[2] == "":
		return nil, elog.New(elog.Fatal, elog.UndefinedDatabase, "database \"%s\" does not exist", name)
	}
	oid, err := strconv.ParseUint(row[2], 10, 32)
	if err != nil {
		return nil, unexpectedAnswer()
	}
	return &closedDatabase{keeper, uint32(oid), name}, nil
}

// openAjar opens the database, connects, and puts the database back.
func (h host) openAjar(ctx context.Context, d *closedDatabase, config *Config) (*Conn, error) {
	if _, err := d.keeper.Exec(ctx, "SELECT pg_catalog.pg_advisory_lock($1, $2)", bypassLockClass, d.lockKey()); err != nil {
		return nil, lookUpError(ctx, err)
	}
	for opening := 1; ; opening++ {
		if err := d.open(ctx); err != nil {
			_ = d.putBack(ctx) // a commit that was interrupted may be one all the same
			return nil, lookUpError(ctx, err)
		}
		conn, err := h.open(ctx, config)
		if failed := d.putBack(ctx); failed != nil {
			if err == nil {
				conn.HangUp(ctx)
			}
			return nil, lookUpError(ctx, failed)
		}
		if SQLState(err) == elog.ObjectNotInPrerequisite && opening < mostOpenings {
			continue // somebody who holds another lock has put it back
		}
		return conn, err
	}
}

// open makes a closed database one that superusers can connect to.
func (d *closedDatabase) open(ctx context.Context) error {
	return d.change(ctx, func(state databaseState) []string {
		switch {
		case state.accepts:
			return nil
		case state.ajar: // and closed by somebody since: the record stands
			return []string{"WITH ALLOW_CONNECTIONS true CONNECTION LIMIT 0"}
		}
		return []string{
			"WITH ALLOW_CONNECTIONS true CONNECTION LIMIT 0",
			fmt.Sprintf("SET %s = '%d'", ajarRecord, state.limit),
		}
	})
}

// putBack makes the database what it was. It does so even if ctx has ended. What
// somebody else has changed meanwhile stays.
func (d *closedDatabase) putBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putBackLimit)
	defer cancel()
	return d.change(ctx, func(state databaseState) []string {
		if !state.ajar {
			return nil
		}
		before := "WITH ALLOW_CONNECTIONS false"
		if state.limit == 0 {
			before += " CONNECTION LIMIT " + strconv.Itoa(state.before)
		}
		return []string{before, "RESET " + ajarRecord}
	})
}

// mostChanges bounds how often a change is tried that somebody else's collides with.
const mostChanges = 5

// change alters the database in one transaction, as its state then demands.
func (d *closedDatabase) change(ctx context.Context, demand func(databaseState) []string) error {
	// Explicit, since the role may have other defaults.
	how := pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}
	for try := 1; ; try++ {
		err := d.keeper.InTransactionWith(ctx, how, func(ctx context.Context, tx pgx.Tx) error { return d.changeIn(ctx, tx, demand) })
		if !collided(err) || try == mostChanges {
			return err
		}
	}
}

// changeIn locks the record's catalog, since no advisory lock keeps those away
// who use another maintenance database. The lock reaches all databases, because
// the catalog is shared, and is in nobody's way but of those who ALTER … SET. The
// database's row cannot be locked instead: ALTER DATABASE has a tuple lock of its
// own, and the two deadlock.
func (d *closedDatabase) changeIn(ctx context.Context, tx pgx.Tx, demand func(databaseState) []string) error {
	if _, err := tx.Exec(ctx, "LOCK TABLE pg_catalog.pg_db_role_setting IN SHARE ROW EXCLUSIVE MODE"); err != nil {
		return err
	}
	state, err := d.state(ctx, tx)
	if err != nil {
		return err
	}
	for _, action := range demand(state) {
		if _, err := tx.Exec(ctx, "ALTER DATABASE "+pgx.Identifier{d.name}.Sanitize()+" "+action); err != nil {
			return err
		}
	}
	return nil
}

// collided reports whether somebody has altered the database meanwhile, who does
// not know of the lock: a deadlock, or "tuple concurrently updated".
func collided(err error) bool {
	var server *pgconn.PgError
	return IsSerializationFailure(err) || errors.As(err, &server) && server.Code == string(elog.InternalError)
}

// querier is a session or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// state looks at the database and its record.
func (d *closedDatabase) state(ctx context.Context, q querier) (s databaseState, err error) {
	const query = `SELECT datname, datallowconn, datconnlimit, coalesce((
	SELECT c FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) u (c)
	WHERE setdatabase OPERATOR(pg_catalog.=) d.oid AND setrole OPERATOR(pg_catalog.=) 0 AND pg_catalog.starts_with(c, $2)), '')
FROM pg_catalog.pg_database d WHERE d.oid OPERATOR(pg_catalog.=) $1`
	var record string
	switch err := q.QueryRow(ctx, query, d.oid, ajarRecord+"=").Scan(&d.name, &s.accepts, &s.limit, &record); {
	case errors.Is(err, pgx.ErrNoRows):
		return s, missingDatabaseOID(d.oid)
	case err != nil:
		return s, err
	}
	if s.limit == invalidLimit {
		return s, elog.New(elog.Fatal, elog.ObjectNotInPrerequisite, "cannot connect to invalid database \"%s\"", d.name).
			WithHint("Use DROP DATABASE to drop invalid databases.")
	}
	if record, s.ajar = strings.CutPrefix(record, ajarRecord+"="); s.ajar {
		s.before, err = strconv.Atoi(record)
	}
	return s, err
}
