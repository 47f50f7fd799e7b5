package servermonitor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// applicationName is how the monitor shows in the server's pg_stat_activity.
const applicationName = "pgexthost server monitor"

// answerLimit is how long the server may take to let the monitor in, or to
// answer a question that needs no lock and no disk.
const answerLimit = 10 * time.Second

// facts are what a session tells about the server.
type facts struct {
	InRecovery bool
	Started    time.Time // pg_postmaster_start_time()
	Version    string
	Where      string // with whom the session is, as a sentence's part
}

// session is an open session of the monitor. It is for one goroutine at a time.
type session interface {
	// Look asks the server for the facts. With an error the session is of no
	// further use.
	Look(ctx context.Context) (facts, error)
	// ClaimedDatabases returns the OIDs of the databases that somebody's command
	// wants to have for itself. With an error that IsServerEvent knows the session
	// is of no further use.
	ClaimedDatabases(ctx context.Context) ([]uint32, error)
	// AwaitLoss blocks until the session is lost and returns why, or nil if ctx
	// ends first.
	AwaitLoss(ctx context.Context) error
	// Close says goodbye, if the server listens.
	Close()
}

// prober opens the monitor's sessions.
type prober struct {
	// limit bounds each exchange with a server: with several hosts, each
	// has that long to let the monitor in, unless connect_timeout says otherwise.
	limit time.Duration
}

// Open opens a session with the maintenance database of a conninfo. Errors are
// those of connect.ParseConninfo and connect.Open.
func (p prober) Open(ctx context.Context, conninfo string) (session, error) {
	config, err := connect.ParseConninfo(conninfo)
	if err != nil {
		return nil, err
	}
	conn, err := connect.Open(ctx, config, applicationName, connect.AsProbe(p.limit))
	if err != nil {
		return nil, err
	}
	return &probe{conn: conn, limit: p.limit}, nil
}

// probe is a session with a real server.
type probe struct {
	conn  *connect.Conn
	limit time.Duration
}

// question asks for everything in one round trip. Extract gives a number on
// purpose: a timestamp would be written in the style and zone of the session.
const question = `SELECT pg_catalog.pg_is_in_recovery(), ` +
	`(extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8`

func (s *probe) Look(ctx context.Context) (facts, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	results, err := s.conn.PgConn().Exec(ctx, question).ReadAll()
	if err != nil {
		if ctx.Err() != nil {
			return facts{}, noAnswer()
		}
		return facts{}, s.describe(err)
	}
	f := facts{Version: s.conn.ServerVersion(), Where: s.where()}
	if f.InRecovery, f.Started, err = parseAnswer(results); err != nil {
		return facts{}, err
	}
	return f, nil
}

// parseAnswer takes nothing for granted: one that is not understood must not
// count as a server that takes writes.
func parseAnswer(results []*pgconn.Result) (inRecovery bool, started time.Time, err error) {
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 2 {
		return false, time.Time{}, unexpectedAnswer()
	}
	row := results[0].Rows[0]
	microseconds, err := strconv.ParseInt(string(row[1]), 10, 64)
	if recovery := string(row[0]); err != nil || recovery != "t" && recovery != "f" {
		return false, time.Time{}, unexpectedAnswer()
	}
	return string(row[0]) == "t", time.UnixMicro(microseconds), nil
}

func unexpectedAnswer() *elog.ErrorData {
	return elog.New(elog.Error, elog.ProtocolViolation, "server sent an unexpected answer")
}

// claims asks for the databases that are locked as CREATE DATABASE locks its
// template (ShareLock), and DROP DATABASE and ALTER DATABASE RENAME and SET
// TABLESPACE lock theirs: nothing else takes these locks on a database (1262 is
// pg_database). With such a lock nobody gets in any more, so that whoever is
// connected is in the way: the command looks 50 times in 5 seconds whether he
// has gone (CountOtherDBBackends).
const claims = `SELECT DISTINCT objid FROM pg_catalog.pg_locks ` +
	`WHERE locktype OPERATOR(pg_catalog.=) 'object' AND classid OPERATOR(pg_catalog.=) 1262 AND granted ` +
	`AND mode OPERATOR(pg_catalog.=) ANY (ARRAY['ShareLock', 'AccessExclusiveLock'])`

func (s *probe) ClaimedDatabases(ctx context.Context) ([]uint32, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	results, err := s.conn.PgConn().Exec(ctx, claims).ReadAll()
	if err != nil {
		if ctx.Err() != nil {
			return nil, noAnswer()
		}
		return nil, s.describe(err)
	}
	if len(results) != 1 {
		return nil, unexpectedAnswer()
	}
	var all []uint32
	for _, row := range results[0].Rows {
		if len(row) != 1 {
			return nil, unexpectedAnswer()
		}
		oid, err := strconv.ParseUint(string(row[0]), 10, 32)
		if err != nil {
			return nil, unexpectedAnswer()
		}
		all = append(all, uint32(oid))
	}
	return all, nil
}

func noAnswer() *elog.ErrorData {
	return elog.New(elog.Error, elog.ConnectionFailure, "server does not answer")
}

// describe says what broke the session. What is neither the server's word nor a
// loss of the connection is an answer that pgx did not understand.
func (s *probe) describe(err error) *elog.ErrorData {
	e := s.conn.DescribeError(err)
	var server *pgconn.PgError
	if errors.As(err, &server) || e.Code == elog.ConnectionFailure && !errors.Is(err, net.ErrClosed) {
		return e
	}
	return unexpectedAnswer().WithCause(err)
}

func (s *probe) where() string {
	place := "at " + s.conn.Address()
	if path.IsAbs(s.conn.Address()) {
		place = fmt.Sprintf("on socket \"%s\"", s.conn.Address())
	}
	return fmt.Sprintf("%s, database \"%s\", user \"%s\"", place, s.conn.Database(), s.conn.User())
}

func (s *probe) AwaitLoss(ctx context.Context) error {
	for {
		_, err := s.conn.WaitForNotification(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return s.describe(err)
		}
	}
}

// goodbyeLimit is how long a server may take to hear the goodbye.
const goodbyeLimit = time.Second

func (s *probe) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeLimit)
	defer cancel()
	s.conn.HangUp(ctx)
}
