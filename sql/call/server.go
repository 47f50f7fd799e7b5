package call

import (
	"context"
	"sync"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

var _ Host = (*plugins.Worker)(nil)

// Host is what calls need of *plugins.Worker.
type Host interface {
	Pid() int
	PostmasterPid() int
	BackgroundWorkers() []plugins.WorkerInfo
	RegisterDynamicBackgroundWorker(worker plugins.BackgroundWorker) (plugins.Handle, error)
	AlterSystem(name string, value *string) error
	GetBackgroundWorkerPid(h plugins.Handle) (status plugins.HandleStatus, pid int, err error)
}

// IsRequest reports whether a message of the server with this SQLSTATE may be a call,
// which is for [Session.Handle] and not for the client.
func IsRequest(sqlstate string) bool { return sqlstate == "PX001" }

// Server answers the calls of all sessions of one gateway. It has one session of
// its own with each database from which there are calls: opened at the first,
// closed after a minute without any, or a second after the last of those who have
// called has left; opened again if it is lost. All methods may be called from any
// goroutine.
type Server struct {
	host     Host
	conninfo func() string
	log      func(e *elog.ErrorData)
	verbs    map[string]verb

	ctx      context.Context // ends with Close
	end      context.CancelFunc
	mu       sync.Mutex
	controls map[string]*control // by database; nil once the server is closed
	running  sync.WaitGroup
}

// NewServer returns a server that acts through a process of the host. It asks for
// the connection string whenever it opens a session, and logs what nobody else
// would hear of. Neither function may be slow, and both are called from several
// goroutines.
func NewServer(host Host, conninfo func() string, log func(e *elog.ErrorData)) *Server {
	s := &Server{host: host, conninfo: conninfo, log: log, verbs: verbsOf(host), controls: make(map[string]*control)}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

// Close ends all calls and all sessions with the server, and waits for that. No
// session of a client is to be relayed any more; what is called for one has no
// effect.
func (s *Server) Close() {
	s.mu.Lock()
	s.controls = nil
	s.mu.Unlock()
	s.end()
	s.running.Wait()
}

// Attach returns the Session for a client's session: its database, the process id
// of its server process, and the nonce in its setting pgexthost.gateway, 32
// hexadecimal digits. It costs nothing, and talks to nobody.
//
// Fail is called for a call that there can be no answer to, as the server cannot be
// told it. Whoever relays the session cancels its statement then, and shows
// the error in the place of the server's 57014. Fail is called from another
// goroutine, must not block, and may come late: for a call that is over.
func (s *Server) Attach(database string, backendPid uint32, nonce string, fail func(e *elog.ErrorData)) *Session {
	session := &Session{server: s, database: database, pid: backendPid, fail: fail}
	session.id, session.valid = sessionID(nonce, backendPid)
	session.valid = session.valid && backendPid > 0 && backendPid < maxPid
	return session
}

// post has the goroutine of a session's database look at the session.
func (s *Server) post(session *Session) {
	s.leave(session.database, func(c *control) { c.hear(session) })
}

// leave leaves something for the goroutine of a database to do, unless the server is
// closed.
func (s *Server) leave(database string, do func(c *control)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.controls == nil {
		return
	}
	c := s.controls[database]
	if c == nil {
		c = newControl(s, database)
		s.controls[database] = c
		s.running.Go(c.run)
	}
	c.leave(func() { do(c) })
}

// ready has the goroutine of a database open its session, and returns why it could
// not.
func (s *Server) ready(ctx context.Context, database string) error {
	opened := make(chan error, 1)
	s.leave(database, func(c *control) {
		c.usedAt = time.Now()
		opened <- c.open()
	})
	select {
	case err := <-opened:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// retire takes a control that has nothing to do out of the server, and reports
// whether it is out: not if somebody has just posted something.
func (s *Server) retire(c *control) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.hasMail() {
		return false
	}
	if s.controls != nil && s.controls[c.database] == c {
		delete(s.controls, c.database)
	}
	return true
}
