package metrics

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pgexthost/pgexthost/internal/control"
)

// Register adds metrics and health checks to the control servers of the hosts
// that this program runs. Call it in main, before plugins.RunChild.
func Register() { control.RegisterWeb(func(h control.Host) control.Web { return newWeb(h) }) }

// web implements control.Web.
type web struct {
	host       control.Host
	metrics    http.Handler
	socket     *handover     // what the control server accepts
	retryEvery time.Duration // how often an address that could not be listened at is tried
}

// Bounds of what a client may take. One that is slow is cut off; what all of them
// wait for is bounded elsewhere, by a few seconds.
const (
	headerLimit  = 5 * time.Second
	requestLimit = 10 * time.Second
	answerLimit  = 30 * time.Second
	idleLimit    = 2 * time.Minute // more than between two scrapes
	headerBytes  = 16 << 10
	maxScrapes   = 8 // at a time

	retryEvery     = 5 * time.Second
	maxConnections = 64 // over TCP, at a time; the others wait
)

func newWeb(h control.Host) *web {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{h})
	return &web{
		host: h, socket: newHandover(), retryEvery: retryEvery,
		metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}),
	}
}

// audience is who can reach a server.
type audience bool

const (
	ourselves audience = true  // the host's own user, and root
	everybody audience = false // whoever comes along
)

func (w *web) newServer(a audience) *http.Server {
	return &http.Server{
		Handler:           w.handler(a),
		ReadHeaderTimeout: headerLimit, ReadTimeout: requestLimit, WriteTimeout: answerLimit, IdleTimeout: idleLimit,
		MaxHeaderBytes: headerBytes,
		ErrorLog:       log.New(io.Discard, "", 0), // clients' faults are theirs
	}
}

// handler serves three paths, for GET and HEAD.
func (w *web) handler(a audience) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", w.metrics)
	mux.Handle("GET /livez", health("livez", w.postmasterAnswers))
	mux.Handle("GET /readyz", health("readyz", w.postmasterAnswers, w.isRunning, w.serverIsReachable(a)))
	return mux
}

// Run serves until ctx ends.
func (w *web) Run(ctx context.Context) {
	server := w.newServer(ourselves)
	defer func() { _ = server.Close() }()
	go func() { _ = server.Serve(w.socket) }()
	w.listen(ctx)
}

// ServeConn serves a connection that was accepted elsewhere.
func (w *web) ServeConn(conn net.Conn) { w.socket.serve(conn) }
