package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// ServerName is what the host calls the process.
const ServerName = "control server"

// process is what the server needs of *plugins.Worker.
type process interface {
	Observed
	Pid() int
	UnregisteredWorkers() []plugins.UnregisteredWorker
	RegisterDynamicBackgroundWorker(plugins.BackgroundWorker) (plugins.Handle, error)
	GetBackgroundWorkerPid(plugins.Handle) (plugins.HandleStatus, int, error)
	TerminateBackgroundWorker(plugins.Handle) error
	WaitLatch(ctx context.Context, events plugins.WakeEvents, timeout time.Duration, ev plugins.WaitEvent) (plugins.WakeEvents, error)
	ResetLatch()
	ConfigReloadPending() bool
	ProcessConfigFile()
	RequestLibraryReload(name string) (id uint64, err error)
	LibraryReloadAnswered(id uint64) bool
	CountControlRequest(kind shmem.ControlRequest)
	PingPostmaster() (number uint64)
	PostmasterAnswered(number uint64) bool
}

// Main is the main function of the process, which runs in the data directory.
// It returns when ctx ends. SIGHUP makes it read the settings again.
func Main(ctx context.Context, w *plugins.Worker) error {
	return serve(ctx, w)
}

func serve(ctx context.Context, w process) error {
	listener, err := listen()
	if err != nil {
		return err
	}
	s := &server{worker: w, look: make(chan struct{}, maxLookers), reload: make(chan struct{}, 1), news: make(chan struct{}), claims: newClaims(w)}
	ctx, cancel := context.WithCancel(ctx)
	var connections sync.WaitGroup
	defer connections.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	defer listener.Close()
	s.startWeb(ctx, &connections)
	connections.Go(func() { s.accept(ctx, listener, &connections) })
	connections.Go(func() { s.claims.run(ctx, s.nextNews) })
	return s.watchLatch(ctx)
}

// listen makes the socket. One that is there already is a killed host's: the
// lock of the data directory keeps every other host out.
func listen() (net.Listener, error) {
	if err := os.Remove(SocketName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, elog.New(elog.Fatal, elog.FileAccessCode(err), "could not remove old socket \"%s\": %s", SocketName, elog.OSReason(err)).WithCause(err)
	}
	failpoint.Here(failpoint.SocketRemoved)
	config := net.ListenConfig{Control: makePrivate}
	listener, err := config.Listen(context.Background(), "unix", SocketName) // it does not wait
	failpoint.Here(failpoint.SocketMade)
	if err != nil {
		return nil, elog.New(elog.Fatal, elog.FileAccessCode(err), "could not create socket \"%s\": %s", SocketName, elog.OSReason(err)).WithCause(err)
	}
	return listener, nil
}

// makePrivate gives a socket its mode before it has a name: from then on, there
// would be a moment in which everybody could connect.
func makePrivate(_, _ string, conn syscall.RawConn) error {
	var chmodErr error
	err := conn.Control(func(fd uintptr) { chmodErr = unix.Fchmod(int(fd), 0o600) })
	return errors.Join(err, chmodErr)
}

// server is the state of the process. Its goroutines share nothing else.
type server struct {
	worker process
	look   chan struct{} // holds one for each ps or why that is being answered
	reload chan struct{} // holds one while the postmaster loads a library again
	claims *claims
	web    Web // or nil

	mu   sync.Mutex
	news chan struct{} // closed and replaced when a worker that was launched here has started or ended
}

// watchLatch turns notifications into news, and SIGHUP into new settings, until
// ctx ends.
func (s *server) watchLatch(ctx context.Context) error {
	for {
		_, err := s.worker.WaitLatch(ctx, plugins.LatchSet|plugins.ExitOnPostmasterDeath, 0, plugins.WaitEvent{Class: shmem.WaitClassActivity, Name: "ControlServerMain"})
		if err != nil {
			return err
		}
		s.worker.ResetLatch()
		if s.worker.ConfigReloadPending() {
			s.worker.ProcessConfigFile()
		}
		s.mu.Lock()
		close(s.news)
		s.news = make(chan struct{})
		s.mu.Unlock()
	}
}

// nextNews returns a channel that is closed at the next news.
func (s *server) nextNews() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news
}

// maxConnections bounds the clients that are connected at a time, and
// maxLookers those for whom all slots are being looked at. Who waits for a
// worker, or for the slot lock, or looks on with "ps --watch", is connected for
// as long as that takes and must not keep others from asking why.
const (
	maxConnections = 1000
	maxLookers     = 64
)

// acceptPause is how long to wait after a failure to accept a connection, which
// the next attempt is likely to share: for want of descriptors, above all.
// Mirrors what PostgreSQL does in AcceptConnection.
const acceptPause = 100 * time.Millisecond

func (s *server) accept(ctx context.Context, listener net.Listener, connections *sync.WaitGroup) {
	room := make(chan struct{}, maxConnections)
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() == nil {
				s.worker.Logf(elog.Log, "could not accept a control connection: %v", err)
			}
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			_ = conn.Close()
			return
		}
		connections.Go(func() {
			defer func() { <-room }()
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			s.converse(ctx, conn)
		})
	}
}

// idleLimit is how long a client may take for a request, or to read a response.
const idleLimit = time.Minute

// converse answers the requests of one client.
func (s *server) converse(ctx context.Context, conn net.Conn) {
	if err := checkPeer(conn); err != nil {
		s.worker.Logf(elog.Log, "refused a control connection: %v", err)
		return
	}
	_ = conn.SetDeadline(time.Now().Add(idleLimit))
	first, err := firstWords(conn)
	if err != nil {
		return
	}
	if isHTTP(first) {
		s.serveHTTP(conn, first)
		return
	}
	for in := io.MultiReader(bytes.NewReader(first), conn); ; in = conn {
		_ = conn.SetDeadline(time.Now().Add(idleLimit))
		var request Request
		if err := handshake.Read(in, &request); err != nil {
			return // it has left, or talks nonsense
		}
		_ = conn.SetDeadline(time.Time{})
		failpoint.Here(failpoint.RequestRead)
		response := s.answer(ctx, conn, request)
		_ = conn.SetDeadline(time.Now().Add(idleLimit))
		if err := handshake.Write(conn, response); err != nil || request.Wait {
			return
		}
	}
}

// checkPeer refuses users that are neither the server's own nor root.
func checkPeer(conn net.Conn) error {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return err
	}
	var pid, uid int
	var peerErr error
	if err := raw.Control(func(fd uintptr) { pid, uid, peerErr = peerOf(fd) }); err != nil {
		return err
	}
	if peerErr != nil {
		return peerErr
	}
	if uid != os.Geteuid() && uid != 0 {
		return fmt.Errorf("process %d belongs to user %d", pid, uid)
	}
	return nil
}
