package launcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

const (
	orphansPause = 2 * time.Second // between looks at the slots
	// orphansGrace is how long tables have to be gone before what they have asked
	// for is: time to restore a dump in.
	orphansGrace = 10 * time.Second
	// orphansRest is how long tables are believed to be there, that nobody serves.
	orphansRest = time.Minute
)

// orphans ends the workers whose request is gone with its table: by DROP SCHEMA or
// DROP DATABASE. As long as a session serves a database, its passes see to that; of
// all others it asks the server. What it can't get an answer to is no reason to end
// anything.
type orphans struct {
	worker worker
	// served reports whether a session looks at the tables of a database.
	served func(database uint32) bool
	// ask asks the server why a database has no requests any more; empty if it has.
	ask func(ctx context.Context, database uint32) (why string, err error)

	suspects map[uint32]*suspect // by the database's part of numberOf
}

// suspect is a database that workers are of, and no session.
type suspect struct {
	nextLook  time.Time
	goneSince time.Time // zero if it is not known to be gone
}

// run looks until ctx ends.
func (o *orphans) run(ctx context.Context) {
	o.suspects = make(map[uint32]*suspect)
	for sleep(ctx, orphansPause) {
		if o.worker.ServerState() == shmem.ServerReadWrite {
			o.look(ctx, time.Now())
		}
	}
}

// look asks about each database whose turn it is.
func (o *orphans) look(ctx context.Context, now time.Time) {
	workers := o.unserved()
	for database := range o.suspects {
		if workers[database] == nil {
			delete(o.suspects, database)
		}
	}
	for database, theirs := range workers {
		s := o.suspects[database]
		if s == nil { // its session may only be on the way
			o.suspects[database] = &suspect{nextLook: now.Add(orphansPause)}
			continue
		}
		if now.Before(s.nextLook) {
			continue
		}
		why, err := o.ask(ctx, database)
		switch {
		case err != nil:
			s.goneSince, s.nextLook = time.Time{}, now.Add(orphansGrace)
		case why == "":
			s.goneSince, s.nextLook = time.Time{}, now.Add(orphansRest)
		case s.goneSince.IsZero():
			s.goneSince, s.nextLook = now, now.Add(orphansGrace)
		default:
			o.end(theirs, why)
		}
	}
}

// unserved returns the workers of databases that no session serves, but those that
// are ending.
func (o *orphans) unserved() map[uint32][]plugins.WorkerInfo {
	all := make(map[uint32][]plugins.WorkerInfo)
	for _, w := range o.worker.BackgroundWorkers() {
		if database := databaseOf(w.Request); w.Request > 0 && !w.Terminated && !o.served(database) {
			all[database] = append(all[database], w)
		}
	}
	return all
}

func (o *orphans) end(workers []plugins.WorkerInfo, why string) {
	for _, w := range workers {
		report := elog.New(elog.Log, elog.SuccessfulCompletion, "terminating background worker \"%s\", whose request does not exist any more", w.Entry.Name).
			WithDetail("%s", why)
		if err := o.worker.TerminateBackgroundWorker(w.Handle); err != nil {
			report = elog.AsErrorData(err, elog.Log)
		}
		o.worker.Ereport(report)
	}
}

// errOtherServer says that the connection settings lead to another server now.
var errOtherServer = errors.New("not the server that the database was of")

// askServer asks as the user of a connection string; only the server that the
// database was of, if that is known, can have an answer.
func askServer(ctx context.Context, conninfo string, database uint32, origin string) (why string, err error) {
	ctx, cancel := context.WithTimeout(ctx, passLimit)
	defer cancel()
	config, err := connect.ParseConninfo(conninfo)
	if err != nil {
		return "", err
	}
	var name string
	err = askOnce(ctx, config, func(conn *connect.Conn) error {
		server, err := systemIdentifier(ctx, conn)
		if err == nil && server != origin && server != "" && origin != "" {
			err = errOtherServer
		}
		if err != nil {
			return err
		}
		return conn.QueryRow(ctx, "SELECT datname FROM pg_database WHERE oid::bigint & 2147483647 = $1", int64(database)).Scan(&name)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Sprintf("The database with OID %d, from which it was launched, does not exist any more.", database), nil
	}
	if err == nil {
		config, err = config.ForDatabase(name)
	}
	if err != nil {
		return "", err
	}
	var there bool
	err = askOnce(ctx, config, func(conn *connect.Conn) error {
		return conn.QueryRow(ctx, "SELECT to_regclass('pgexthost.request') IS NOT NULL").Scan(&there)
	})
	if err != nil || there {
		return "", err
	}
	return fmt.Sprintf("Database \"%s\", from which it was launched, has no table pgexthost.request any more.", name), nil
}

// askOnce asks over a session of its own.
func askOnce(ctx context.Context, config *connect.Config, ask func(conn *connect.Conn) error) error {
	conn, err := connect.Open(ctx, config, ApplicationName, sessionOptions()...)
	if err != nil {
		return err
	}
	defer conn.HangUp(context.WithoutCancel(ctx))
	return ask(conn)
}

// systemIdentifier returns what tells a server and its copies from all others, or ""
// if the user may not know.
func systemIdentifier(ctx context.Context, conn *connect.Conn) (identifier string, err error) {
	err = conn.QueryRow(ctx, "SELECT system_identifier::text FROM pg_control_system()").Scan(&identifier)
	if connect.SQLState(err) == elog.InsufficientPrivilege {
		return "", nil
	}
	return identifier, err
}

// origins remembers of which server the databases are that were served: their OIDs
// mean nothing to another one, to which a mistake or a name service may lead for a
// while. It is for any goroutine.
type origins struct {
	mu      sync.Mutex
	servers map[uint32]string // system identifiers, by the database's part of numberOf
}

func (o *origins) note(database uint32, server string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.servers == nil {
		o.servers = make(map[uint32]string)
	}
	o.servers[database&databaseMask] = server
}

// of returns "" if it is not known.
func (o *origins) of(database uint32) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.servers[database&databaseMask]
}
