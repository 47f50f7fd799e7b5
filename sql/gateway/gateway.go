package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
	"github.com/pgexthost/pgexthost/sql/call"
)

// Name is what the host calls the process.
const Name = "gateway"

// Register makes the process part of this program. Call it in main, before
// plugins.RunChild and host.Run.
func Register() { plugins.RegisterAuxiliary(Name, Main) }

var waitEvent = plugins.WaitEvent{Class: shmem.WaitClassActivity, Name: "GatewayMain"}

// Main is the main function of the process, which runs in the data directory. It
// returns when ctx ends, after it has told its clients, or with
// plugins.ErrPostmasterDied. SIGHUP makes it read the settings again.
func Main(ctx context.Context, w *plugins.Worker) error {
	g, err := newGateway(w)
	if err != nil {
		return err
	}
	clients, stop := context.WithCancel(ctx)
	g.answers = call.NewServer(w, w.ServerConninfo, g.log)
	defer g.answers.Close()
	defer g.clients.Wait()
	defer stop()
	g.ending = clients.Done()
	read, err := g.read()
	if err != nil {
		return err
	}
	g.count(0) // whatever a gateway before this one has left
	g.listen(clients, read)
	for {
		if _, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.ExitOnPostmasterDeath, 0, waitEvent); err != nil {
			return err
		}
		w.ResetLatch()
		if w.ConfigReloadPending() {
			w.ProcessConfigFile()
			if err := g.configure(); err != nil {
				g.log(elog.AsErrorData(err, elog.Log))
			}
		}
	}
}

// worker is what a gateway needs of its process. A *plugins.Worker is one.
type worker interface {
	ShowSetting(name string) (string, error)
	ServerConninfo() string
	Ereport(e *elog.ErrorData)
	Logf(level elog.Level, format string, args ...any)
	SetSessions(n int)
	CountSession()
	RefusesSessions() bool
}

// gateway is the state of the process.
type gateway struct {
	worker  worker
	inForce atomic.Pointer[inForce]
	ending  <-chan struct{} // closed when the clients have to leave
	clients sync.WaitGroup
	keys    keys
	crowd   crowd
	lobby   chan struct{} // holds one for each connection
	room    chan struct{} // holds one for each client that may have a session
	known   announcements
	answers *call.Server
}

// inForce are the settings that may change. It is replaced, not changed.
type inForce struct {
	authenticationTimeout time.Duration
	compat                bool
	tls                   *tls.Config     // nil: off
	noTLS                 *elog.ErrorData // why ssl is on and there is no TLS: nobody comes over TCP
}

func newGateway(w worker) (*gateway, error) {
	g := &gateway{worker: w}
	read, err := g.read()
	if err != nil {
		return nil, err
	}
	g.room = make(chan struct{}, read.Int(settings.MaxConnections))
	g.lobby = make(chan struct{}, 2*cap(g.room))
	return g, g.configure()
}

// read returns the settings of the process, by type.
func (g *gateway) read() (*guc.Store, error) {
	store := guc.NewStore(settings.Definitions()...)
	for _, d := range store.Definitions() {
		shown, err := g.worker.ShowSetting(d.Name)
		if err != nil {
			return nil, err
		}
		if err := store.Override(d.Name, shown); err != nil {
			return nil, err
		}
	}
	return store, nil
}

func (g *gateway) settings() *inForce { return g.inForce.Load() }

// configure puts the settings in force. A certificate that can't be used is an error,
// and leaves the former one in force. At the start there is none to leave: the unix
// sockets need no certificate, and the addresses wait for a good one. Mirrors what a
// reload does with ssl_cert_file.
func (g *gateway) configure() error {
	read, err := g.read()
	if err != nil {
		return err
	}
	next := &inForce{authenticationTimeout: read.Duration(settings.AuthenticationTimeout), compat: read.Bool(settings.GatewayCompat)}
	if read.Bool(settings.SSL) {
		config, err := serverTLS(read.String(settings.SSLCertFile), read.String(settings.SSLKeyFile))
		before := g.settings()
		switch {
		case err == nil:
			next.tls = config
		case before == nil:
			next.noTLS = elog.AsErrorData(err, elog.Log)
		default:
			next.tls, next.noTLS = before.tls, before.noTLS
			g.inForce.Store(next)
			return err
		}
	}
	g.inForce.Store(next)
	return nil
}

func (g *gateway) log(e *elog.ErrorData) {
	told := *e
	if told.Level >= elog.Error {
		told.Level = elog.Log // it costs one session, not the process
	}
	g.worker.Ereport(&told)
}

// stopping reports whether the clients have to leave.
func (g *gateway) stopping() bool {
	select {
	case <-g.ending:
		return true
	default:
		return false
	}
}

// acceptPause is how long to wait after a failure to accept a connection, which
// the next attempt is likely to share: for want of descriptors, above all.
// Mirrors what PostgreSQL does in AcceptConnection.
const acceptPause = 100 * time.Millisecond

// accept serves the clients of one socket until ctx ends.
func (g *gateway) accept(ctx context.Context, listener net.Listener) {
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			g.worker.Logf(elog.Log, "could not accept new connection: %v", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		socket, ok := conn.(rawConn)
		if !ok {
			_ = conn.Close()
			continue
		}
		select {
		case g.lobby <- struct{}{}:
			g.clients.Go(func() {
				defer func() { <-g.lobby }()
				g.admit(ctx, socket)
			})
		default:
			_ = conn.Close()
		}
	}
}

// admit serves a client if there is room. One that only wants to cancel another's
// statement needs none, or a crowd could not be thinned out. Those who wait at the
// door are bounded as well, like PostgreSQL's dead-end children.
func (g *gateway) admit(ctx context.Context, conn rawConn) {
	select {
	case g.room <- struct{}{}:
		defer func() { <-g.room }()
		g.serve(ctx, conn, true)
	default:
		g.serve(ctx, conn, false)
	}
}
