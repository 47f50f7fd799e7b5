package launcher

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// ApplicationName is how the launcher's sessions show in the server's
// pg_stat_activity.
const ApplicationName = "pgexthost request launcher"

const (
	// pollPause is how late a request can be noticed whose notification is lost.
	pollPause = 5 * time.Second
	// lookPause is how often the slots are looked at: workers that another launcher
	// process has registered notify that one.
	lookPause = time.Second
	// passLimit is how long one pass, or the opening of a session, may take.
	passLimit = time.Minute

	firstPause   = 100 * time.Millisecond // after a failure; doubles
	longestPause = 5 * time.Second
	ownerPause   = time.Second // until the next try to become the owner
	forgetPause  = 10 * time.Minute
)

// worker is what a database needs of *plugins.Worker.
type worker interface {
	process
	PostmasterPid() int
	Incarnation() string
	ServerState() shmem.ServerState
	Ereport(e *elog.ErrorData)
	Logf(level elog.Level, format string, args ...any)
}

// database serves the requests of one database.
type database struct {
	worker   worker
	name     string
	conninfo string
	identity string
	journal  *journal
	history  atomic.Int64 // minutes; 0: for ever
	woken    chan struct{}
	served   atomic.Uint32 // its OID, while a session looks at its tables; or 0

	origins *origins // of all databases

	past *past  // for the goroutine that runs it
	said string // why it can't be served, as the log has it
}

func newDatabase(w worker, name, conninfo, identity string, j *journal, p *past) *database {
	return &database{worker: w, name: name, conninfo: conninfo, identity: identity, journal: j, woken: make(chan struct{}, 1), past: p}
}

// wake makes the next pass come at once.
func (d *database) wake() {
	select {
	case d.woken <- struct{}{}:
	default:
	}
}

// run serves the database until ctx ends, over one session after the other.
func (d *database) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		if d.worker.ServerState() != shmem.ServerReadWrite {
			sleep(ctx, firstPause) // the server monitor tells the log why
			continue
		}
		served, err := d.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		if served {
			pause = firstPause
		}
		d.complain(err)
		sleep(ctx, pause+rand.N(pause/4)) //nolint:gosec // so that hosts do not come in step
		pause = min(2*pause, longestPause)
	}
}

// serve opens a session and serves the database over it until that fails. Served
// says whether the host was the owner.
func (d *database) serve(ctx context.Context) (served bool, err error) {
	conn, err := d.open(ctx)
	if err != nil {
		return false, err
	}
	defer func() {
		goodbye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		conn.HangUp(goodbye)
	}()
	t := &tables{conn: conn, host: d.identity, incarnation: d.worker.Incarnation()}
	limited, cancel := context.WithTimeout(ctx, passLimit)
	err = t.prepare(limited)
	origin := ""
	if err == nil {
		origin, err = systemIdentifier(limited, conn)
	}
	cancel()
	if err != nil {
		return false, d.describe(conn, err)
	}
	d.past.meet(t.oid)
	d.origins.note(conn.DatabaseOID(), origin)
	d.served.Store(conn.DatabaseOID())
	defer d.served.Store(0)
	s := &state{process: d.worker, tables: t, journal: d.journal, past: d.past, attempts: make(map[int64]attempt), missing: make(map[int64]time.Time)}
	for err == nil && ctx.Err() == nil {
		err = d.round(ctx, s)
	}
	if ctx.Err() != nil && !conn.IsClosed() {
		s.conclude(context.WithoutCancel(ctx))
	}
	return t.owner, d.describe(conn, err)
}

func (d *database) open(ctx context.Context) (*connect.Conn, error) {
	config, err := connect.ParseConninfo(d.conninfo)
	if err == nil {
		config, err = config.ForDatabase(d.name)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, passLimit)
	defer cancel()
	return connect.Open(ctx, config, ApplicationName, sessionOptions()...)
}

// own makes the host the one that serves the database, unless another does.
func (d *database) own(ctx context.Context, t *tables) error {
	err := t.own(ctx, d.worker.PostmasterPid())
	switch {
	case err == nil:
		d.said = ""
		d.worker.Logf(elog.Log, "fulfilling the requests of database \"%s\"", d.name)
	case errors.Is(err, errOwnedByOther):
		d.complain(err)
		return nil
	}
	return err
}

// round makes passes until there is nothing more to do, and waits for news.
func (d *database) round(ctx context.Context, s *state) error {
	if !s.tables.owner {
		limited, cancel := context.WithTimeout(ctx, passLimit)
		err := d.own(limited, s.tables)
		cancel()
		if err != nil {
			return err
		}
	}
	for progress := true; progress; { // for as long as requests keep coming
		var err error
		if progress, err = d.step(ctx, s); err != nil {
			return err
		}
	}
	return d.wait(ctx, s)
}

// step makes one pass, and does what is due besides.
func (d *database) step(ctx context.Context, s *state) (progress bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, passLimit)
	defer cancel()
	if progress, err = s.pass(ctx); err != nil {
		return false, err
	}
	if err := s.publish(ctx); err != nil {
		return false, err
	}
	if minutes := int(d.history.Load()); s.tables.owner && minutes > 0 && time.Since(s.forgotAt) > forgetPause {
		s.forgotAt = time.Now()
		return progress, s.tables.forget(ctx, minutes)
	}
	return progress, nil
}

// wait returns when there is a reason for another pass: a notification, news of
// the slots, or that it is time.
func (d *database) wait(ctx context.Context, s *state) error {
	seen := fingerprint(d.worker)
	pause := pollPause
	if !s.tables.owner {
		pause = ownerPause // until the next try
	}
	for end := time.Now().Add(pause); time.Now().Before(end); {
		news, err := d.listen(ctx, s.tables.conn, lookPause)
		if news || err != nil || ctx.Err() != nil {
			return err
		}
		if fingerprint(d.worker) != seen {
			return nil
		}
		if err := s.publish(ctx); err != nil {
			return err
		}
	}
	return nil
}

// listen waits for a notification of the server or a wake-up, and reports whether
// there was one.
func (d *database) listen(ctx context.Context, conn *connect.Conn, limit time.Duration) (news bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	woken := make(chan bool, 1)
	go func() {
		select {
		case <-d.woken:
			cancel()
			woken <- true
		case <-ctx.Done():
			woken <- false
		}
	}()
	_, err = conn.WaitForNotification(ctx)
	ended := ctx.Err() != nil
	cancel()
	news = <-woken || err == nil
	if err != nil && ended && !conn.IsClosed() {
		err = nil
	}
	for ended = err != nil || !news; !ended; { // one pass will do for all that are there
		_, none := conn.WaitForNotification(ctx)
		ended = none != nil
	}
	return news, err
}

// fingerprint is what of the slots a pass can depend on.
func fingerprint(p process) uint64 {
	const prime = 1099511628211
	sum := uint64(14695981039346656037)
	add := func(text string) {
		for _, b := range []byte(text) {
			sum = (sum ^ uint64(b)) * prime
		}
	}
	for _, w := range p.BackgroundWorkers() {
		if w.Request != 0 {
			add(w.Handle.String() + string(w.State) + "/")
			sum = (sum ^ uint64(w.Pid)) * prime
		}
	}
	return sum
}

// describe words an error of the session.
func (d *database) describe(conn *connect.Conn, err error) error {
	if err == nil || errors.Is(err, errOwnedByOther) || errors.Is(err, errLostOwnership) {
		return err
	}
	return conn.DescribeError(err)
}

// complain logs why the database can't be served, unless the log has just said so.
// That the server is gone, the server monitor says.
func (d *database) complain(err error) {
	if err == nil || connect.IsServerEvent(err) {
		return
	}
	cause := connect.AsErrorData(err, elog.Log)
	if cause.Message == d.said {
		return
	}
	d.said = cause.Message
	report := *cause
	report.Level = elog.Log
	report.Message = "cannot fulfil the requests of database \"" + d.name + "\": " + cause.Message
	if errors.Is(err, errOwnedByOther) {
		report.Detail = "This host waits until that one ends, and only looks after what it has started itself."
		report.Code = elog.SuccessfulCompletion
	}
	d.worker.Ereport(&report)
}

// sleep returns false if ctx has ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

var _ worker = (*plugins.Worker)(nil)
