package control

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// Observed is what a [Web] may know of the host, and no more: nothing here
// changes anything. *plugins.Worker is one.
type Observed interface {
	BackgroundWorkers() []plugins.WorkerInfo
	SlotCount() int
	ServerState() shmem.ServerState
	ServerNews() string
	HostStatistics() (stats shmem.Statistics, ok bool)
	HostTallies() shmem.Tallies
	ClientSessions() int
	ShowSetting(name string) (string, error)
	Logf(level elog.Level, format string, args ...any)
	Ereport(e *elog.ErrorData)
}

// Host is a host as a [Web] sees it.
type Host struct {
	Observed
	// AskPostmaster returns nil once the postmaster's event loop has answered, with
	// statistics that it has just published; or the cause of ctx's end.
	AskPostmaster func(ctx context.Context) error
	// News returns a channel that is closed when the settings may have changed.
	News func() <-chan struct{}
}

// Web serves HTTP in the control server. Its methods may be called at the same
// time.
type Web interface {
	// ServeConn serves a connection to the control socket, whose peer was checked,
	// and returns when it is closed.
	ServeConn(conn net.Conn)
	// Run serves whatever else the settings ask for, until ctx ends. ServeConn is of
	// use only while it runs.
	Run(ctx context.Context)
}

// newWeb makes the Web of this program, if there is one.
var newWeb func(Host) Web

// RegisterWeb gives the control server of this program a Web. Call it in main,
// before plugins.RunChild, and once.
func RegisterWeb(make func(Host) Web) { newWeb = make }

// startWeb starts the Web, or says that there is none.
func (s *server) startWeb(ctx context.Context, running *sync.WaitGroup) {
	if newWeb == nil {
		if address, _ := s.worker.ShowSetting(settings.MetricsAddress); address != "" {
			s.worker.Ereport(elog.New(elog.Warning, elog.ObjectNotInPrerequisite, "\"%s\" has no effect", settings.MetricsAddress).
				WithDetail("This program was built without metrics.").
				WithHint("Call metrics.Register, of package host/metrics, in its main function."))
		}
		return
	}
	s.web = newWeb(Host{Observed: s.worker, AskPostmaster: s.askPostmaster, News: s.nextNews})
	running.Go(func() { s.web.Run(ctx) })
}

// askPostmaster waits for a sign of life of the postmaster, which comes with a
// set latch.
func (s *server) askPostmaster(ctx context.Context) error {
	number := s.worker.PingPostmaster()
	return s.await(ctx, func() (bool, error) { return s.worker.PostmasterAnswered(number), nil })
}

// firstWords reads as much as it takes to tell what a client speaks.
func firstWords(conn net.Conn) ([]byte, error) {
	first := make([]byte, 4)
	_, err := io.ReadFull(conn, first)
	return first, err
}

// isHTTP reports whether a client's first bytes are those of a request line,
// which begins with a word in capitals. A frame has a version in fourth place.
func isHTTP(first []byte) bool {
	for i, c := range first {
		if (c < 'A' || c > 'Z') && (c != ' ' || i == 0) {
			return false
		}
	}
	return true
}

const noWeb = "HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain\r\nContent-Length: 40\r\nConnection: close\r\n\r\n" +
	"This program was built without metrics.\n"

// serveHTTP serves a client that has begun to speak HTTP.
func (s *server) serveHTTP(conn net.Conn, first []byte) {
	if s.web == nil {
		_, _ = io.WriteString(conn, noWeb)
		return
	}
	_ = conn.SetDeadline(time.Time{}) // those of the Web hold
	s.web.ServeConn(begunConn{conn, io.MultiReader(bytes.NewReader(first), conn)})
}

// begunConn is a connection whose first bytes have been read.
type begunConn struct {
	net.Conn
	in io.Reader
}

func (c begunConn) Read(b []byte) (int, error) { return c.in.Read(b) }
