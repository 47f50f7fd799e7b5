package connect

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// maxApplicationName is NAMEDATALEN without the NUL, in bytes.
const maxApplicationName = plugins.NameDataLen - 1

// Open opens a session that is not a worker's, with the maintenance database.
// What is left of an application name beyond 63 bytes is dropped.
//
// If ctx is cancelled, Open returns its cause. Any other error is an
// *elog.ErrorData with level FATAL: the server's words and SQLSTATE, which wrap
// its *pgconn.PgError; or 08001 "could not connect to server: …".
func Open(ctx context.Context, c *Config, applicationName string, opts ...Option) (*Conn, error) {
	return c.open(ctx, client{name: applicationName}, newOptions(opts))
}

// client is whom a session is for.
type client struct {
	name   string                                          // becomes application_name
	report func(state plugins.ActivityState, query string) // or nil
	notice func(e *elog.ErrorData)                         // or nil
}

func (c *Config) open(ctx context.Context, cl client, o options) (*Conn, error) {
	config := c.pgx.Copy()
	config.RuntimeParams["application_name"] = truncateName(cl.name)
	config.RuntimeParams["client_encoding"] = "UTF8"
	if cl.notice != nil {
		config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { cl.notice(noticeReport(n)) }
	}
	var tracer *activityTracer
	if cl.report != nil {
		tracer = &activityTracer{report: cl.report}
		config.Tracer = tracer
	}
	wire := prepareWire(config, o.probe)
	established, err := pgx.ConnectConfig(opening(ctx), config)
	if err != nil {
		return nil, c.openError(ctx, err)
	}
	conn := &Conn{Conn: established, wire: wire, tracer: tracer, address: wire.pin()}
	if err := conn.prepare(ctx, o); err != nil {
		err = orUnexpected(wire.explain(err))
		conn.HangUp(ctx)
		return nil, c.openError(ctx, err)
	}
	return conn, nil
}

func (c *Config) openError(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	return c.failure(err)
}

// prepare makes what pgx has opened a session of ours.
func (c *Conn) prepare(ctx context.Context, o options) error {
	if err := refuseOldServer(c.ServerVersion()); err != nil {
		return err
	}
	if o.probe > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.probe)
		defer cancel()
	}
	oid, err := runSetup(ctx, c.PgConn(), o.setup(c.Config().RuntimeParams))
	if err != nil {
		return err
	}
	c.databaseOID = oid
	if o.probe == 0 {
		c.wire.trust(c.PgConn().Frontend())
	}
	return nil
}

// runSetup runs the set-up statement in one round trip, without the extended
// protocol: it is never run again.
func runSetup(ctx context.Context, c *pgconn.PgConn, setup string) (databaseOID uint32, err error) {
	results, err := c.Exec(ctx, setup).ReadAll()
	if err != nil {
		return 0, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) == 0 {
		return 0, unexpectedAnswer()
	}
	oid, err := strconv.ParseUint(string(results[0].Rows[0][0]), 10, 32)
	if err != nil {
		return 0, unexpectedAnswer()
	}
	return uint32(oid), nil
}

// oldestServer is the first major version with all that sessions are given.
const oldestServer = 14

func refuseOldServer(version string) error {
	digits := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	major, err := strconv.Atoi(version[:max(digits, 0)])
	if err != nil || major >= oldestServer { // no number: somebody's own build
		return nil
	}
	return elog.New(elog.Fatal, elog.FeatureNotSupported, "server version %s is not supported", version).
		WithHint("PostgreSQL %d or later is needed.", oldestServer)
}

// truncateName cuts a name to what the server keeps of it, between characters.
func truncateName(name string) string {
	if len(name) <= maxApplicationName {
		return name
	}
	end := maxApplicationName
	for end > 0 && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end]
}

// noticeReport turns a notice of the server into a report for the log, where
// log_min_messages decides, as it does for a worker inside the server.
func noticeReport(n *pgconn.Notice) *elog.ErrorData {
	severity := n.SeverityUnlocalized
	if severity == "" {
		severity = n.Severity
	}
	level, known := elog.ParseLevel(severity)
	if !known || level >= elog.Error {
		level = elog.Warning
	}
	return &elog.ErrorData{
		Level: level, Code: elog.SQLState(n.Code), Message: n.Message, Detail: n.Detail, Hint: n.Hint, Context: n.Where,
	}
}
