package connect

import (
	"context"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Flags change the rules for a worker's connection. Mirrors the BGWORKER_
// flags of BackgroundWorkerInitializeConnection.
type Flags uint32

// The flags of bgworker.h. Neither is available yet.
const (
	// BypassAllowConn connects even to a database with ALLOW_CONNECTIONS false.
	BypassAllowConn Flags = 0x0001
	// BypassRoleLoginCheck connects even as a role without the LOGIN attribute.
	BypassRoleLoginCheck Flags = 0x0002
)

// InitializeConnection opens the worker's session with a database, as a user.
// An empty dbname means the maintenance database of the host's settings, an
// empty username their user. It can succeed once in a worker's life.
//
// Errors are *elog.ErrorData with level FATAL unless said otherwise, and main
// should return them:
//   - 54000: the worker was registered without BackendDatabaseConnection.
//   - XX000, level ERROR: the worker has a session already.
//   - 28000: the role does not exist, or is not permitted to log in.
//   - 0A000: a flag, or a user other than the host's own. Not available yet.
//   - 22023: the host's server_conninfo cannot be used.
//   - class 08: the server cannot be reached; see IsServerEvent.
//   - the server's own code and words for everything it refuses, such as 3D000,
//     55000, 42501, 28P01 and 53300; they wrap its *pgconn.PgError.
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
		h := host{config, client{w.Entry().Name, w.ReportActivity, w.Ereport}, newOptions(opts)}
		if conn, err = t.connect(ctx, h, flags); err != nil {
			return nil, err
		}
		return conn, nil
	})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// refuseFlags refuses the flags that are not available.
func refuseFlags(flags Flags) error {
	switch {
	case flags&BypassAllowConn != 0:
		return elog.New(elog.Fatal, elog.FeatureNotSupported, "cannot bypass ALLOW_CONNECTIONS of a database").
			WithDetail("A worker outside the server connects as any client does.").
			WithHint("Allow connections to the database, with CONNECTION LIMIT 0 if only superusers shall get in.")
	case flags&BypassRoleLoginCheck != 0:
		return elog.New(elog.Fatal, elog.FeatureNotSupported, "cannot bypass the login check of a role").
			WithDetail("A worker outside the server connects as any client does.").
			WithHint("Give the role the LOGIN attribute, or connect as the host's own user and use SET ROLE.")
	case flags != 0:
		return elog.New(elog.Fatal, elog.InvalidParameterValue, "invalid connection flags: 0x%x", uint32(flags))
	}
	return nil
}
