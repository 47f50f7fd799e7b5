package plugins

import (
	"context"
	"sync"
	"time"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Session is an open session with the real server, as far as the worker's
// runtime has to know it. Package connect implements it.
type Session interface {
	// Database returns the name of the database, and DatabaseOID its OID.
	Database() string
	DatabaseOID() uint32
	// BackendPid returns the process id of the server's side, and RoleOID the role
	// that the session has become; 0 if it is that of its login.
	BackendPid() int
	RoleOID() uint32
	// CancelRequest asks the server to cancel the running statement. The
	// runtime calls it on SIGINT, from a goroutine of its own.
	CancelRequest(ctx context.Context) error
	// Close says goodbye to the server. The runtime calls it when the process
	// ends.
	Close(ctx context.Context) error
	// DescribeError turns an error that one of the session's methods returned
	// into a report, with the server's own words. The runtime calls it for the
	// error of a main function.
	DescribeError(err error) *elog.ErrorData
}

// sessionState is the one session a worker may have.
type sessionState struct {
	mu   sync.Mutex // held while a session is being opened, too
	open Session
}

// ServerConninfo returns the host's server_conninfo: a libpq connection string
// or URI. It may hold a password.
func (w *Worker) ServerConninfo() string { return w.settings.store.String(settings.ServerConninfo) }

// InitializeSession opens the worker's session: package connect passes the
// function that does so. A worker that was registered without BackendDatabaseConnection gets
// FATAL 54000; one that has a session already gets ERROR "invalid processing
// mode in background worker". An error of open is returned as it is, and the
// worker may try again.
//
// Mirrors the checks of BackgroundWorkerInitializeConnection.
func (w *Worker) InitializeSession(open func() (Session, error)) error {
	if w.entry.Flags&BackendDatabaseConnection == 0 {
		return elog.New(elog.Fatal, elog.ProgramLimitExceeded, "database connection requirement not indicated during registration").
			WithHint("Register the worker with the flag BackendDatabaseConnection.")
	}
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	if w.session.open != nil {
		return elog.New(elog.Error, elog.InternalError, "invalid processing mode in background worker").
			WithDetail("A background worker can connect only once, and cannot switch databases.")
	}
	begin := time.Now()
	session, err := open()
	w.countConnect(time.Since(begin), err)
	if err != nil {
		return err
	}
	failpoint.Here(failpoint.SessionOpened)
	w.session.open = session
	w.activityLock.Lock()
	defer w.activityLock.Unlock()
	w.proc.ReportDatabase(session.Database(), session.DatabaseOID())
	w.proc.ReportSession(session.BackendPid(), session.RoleOID())
	failpoint.Here(failpoint.SessionRecorded)
	return nil
}

// current returns the open session, or nil. It does not wait for one that is
// being opened: there is nothing to cancel in it yet.
func (s *sessionState) current() Session {
	if !s.mu.TryLock() {
		return nil
	}
	defer s.mu.Unlock()
	return s.open
}

// sessionGoodbye bounds how long the end of a process may wait for its session
// to be closed, and cancelLimit how long a cancel request may take.
const (
	sessionGoodbye = time.Second
	cancelLimit    = 10 * time.Second
)

// closeSession says goodbye to the server, if there is a session.
func (w *Worker) closeSession() {
	if session := w.session.current(); session != nil {
		ctx, cancel := context.WithTimeout(context.Background(), sessionGoodbye)
		defer cancel()
		_ = session.Close(ctx)
	}
}

// cancelStatement asks the server to cancel what runs, if there is a session.
func (w *Worker) cancelStatement() {
	session := w.session.current()
	if session == nil {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), cancelLimit)
		defer cancel()
		if err := session.CancelRequest(ctx); err != nil {
			w.Logf(elog.Warning, "could not send cancel request: %v", err)
		}
	}()
}
