package connect

import (
	"context"

	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/internal/standalone"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Flags change the rules for a worker's connection. Mirrors the BGWORKER_
// flags of BackgroundWorkerInitializeConnection.
type Flags uint32

// The flags of bgworker.h.
const (
	// BypassAllowConn connects even to a database with ALLOW_CONNECTIONS false, or
	// on which the role has no CONNECT privilege. The host must log in as a
	// superuser and have allow_bypass_allowconn turned on, because the database is
	// open to all superusers while the worker connects. See closedDatabase.
	BypassAllowConn Flags = 0x0001
	// BypassRoleLoginCheck connects even as a role without the LOGIN attribute.
	BypassRoleLoginCheck Flags = 0x0002
)

// InitializeConnection opens the worker's session with a database, as a user.
// An empty dbname means the maintenance database of the host's settings, an
// empty username their user. It can succeed once in a worker's life.
//
// As another user than the host's own, the worker logs in if that user has a
// login of its own: a line in the host's password file or a section in its
// service file that names the user. Otherwise, and with any flag, the host's user
// logs in and becomes the other one: by SET SESSION AUTHORIZATION if it is a
// superuser, by SET ROLE if it is a member of the role. What ALTER ROLE … SET and
// ALTER DATABASE … SET give to that user is applied then; what the server refuses
// of it is logged at WARNING.
//
// Errors are *elog.ErrorData with level FATAL unless said otherwise, and main
// should return them:
//   - 54000: the worker was registered without BackendDatabaseConnection.
//   - XX000, level ERROR: the worker has a session already.
//   - 28000: the role does not exist, or is not permitted to log in.
//   - 42501: the role has no CONNECT privilege; or the host's user can neither
//     become it nor bypass ALLOW_CONNECTIONS.
//   - 55000: the database accepts no connections, and BypassAllowConn is not
//     given or allow_bypass_allowconn off.
//   - 22023: a flag that there is not; or the host's server_conninfo cannot be
//     used.
//   - class 08: the server cannot be reached; see IsServerEvent.
//   - the server's own code and words for everything it refuses, such as 3D000,
//     28P01 and 53300; they wrap its *pgconn.PgError.
//
// If ctx ends meanwhile, its cause is returned. Mirrors
// BackgroundWorkerInitializeConnection.
func InitializeConnection(ctx context.Context, w *plugins.Worker, dbname, username string, flags Flags, opts ...Option) (*Conn, error) {
	return initialize(ctx, w, byName{dbname, username}, flags, opts)
}

// InitializeConnectionByOID is InitializeConnection for a database and a role
// given by OID; 0 stands for an empty name. OIDs are looked up in the
// maintenance database, which costs a second connection for a moment. In
// addition it returns 3D000 "database %u does not exist" and 28000 "role with
// OID %u does not exist". Mirrors BackgroundWorkerInitializeConnectionByOid.
func InitializeConnectionByOID(ctx context.Context, w *plugins.Worker, dboid, roleoid uint32, flags Flags, opts ...Option) (*Conn, error) {
	return initialize(ctx, w, byOID{dboid, roleoid}, flags, opts)
}

// worker is what a connection needs of *plugins.Worker.
type worker interface {
	Entry() plugins.BackgroundWorker
	ServerConninfo() string
	InitializeSession(open func() (plugins.Session, error)) error
	ReportActivity(state plugins.ActivityState, query string)
	Ereport(e *elog.ErrorData)
	ShowSetting(name string) (string, error)
}

// target is how a caller names database and role.
type target interface {
	// connect opens the session, or says why there cannot be one.
	connect(ctx context.Context, h host, flags Flags) (*Conn, error)
}

// host is what sessions are opened with.
type host struct {
	config *Config
	client client
	opts   options
	// mayBypass: allow_bypass_allowconn is on
	mayBypass bool
}

func (h host) open(ctx context.Context, c *Config) (*Conn, error) {
	return c.open(ctx, h.client, h.opts)
}

func initialize(ctx context.Context, w worker, t target, flags Flags, opts []Option) (*Conn, error) {
	var conn *Conn
	err := w.InitializeSession(func() (plugins.Session, error) {
		config, err := ParseConninfo(w.ServerConninfo())
		if err != nil {
			return nil, elog.AsErrorData(err, elog.Fatal)
		}
		if unknown := flags &^ (BypassAllowConn | BypassRoleLoginCheck); unknown != 0 {
			return nil, elog.New(elog.Fatal, elog.InvalidParameterValue, "invalid connection flags: 0x%x", uint32(flags))
		}
		allowed, _ := w.ShowSetting(settings.AllowBypassAllowConn) // it is there
		h := host{config, client{w.Entry().Name, w.ReportActivity, w.Ereport}, newOptions(opts), allowed == "on"}
		if conn, err = t.connect(ctx, h, flags); err != nil {
			return nil, err
		}
		conn.watch = standalone.WatchOf(w)
		return conn, nil
	})
	if err != nil {
		return nil, err
	}
	return conn, nil
}
