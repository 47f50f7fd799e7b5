package metrics

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// listen serves metrics_address, whatever it is set to, until ctx ends. One that
// can't be had now is tried again and again: who has it may go.
func (w *web) listen(ctx context.Context) {
	l := tcp{web: w}
	defer l.close()
	for {
		news := w.host.News()
		l.follow(ctx)
		var again <-chan time.Time
		if l.failed != "" {
			again = time.After(w.retryEvery)
		}
		select {
		case <-news:
		case <-again:
		case err := <-l.ended:
			l.fail("accept connections at", err)
		case <-ctx.Done():
			return
		}
	}
}

// tcp is who listens at metrics_address, or nobody. One goroutine owns it.
type tcp struct {
	web     *web
	address string       // as it is set
	server  *http.Server // nil: nobody listens there
	ended   chan error   // says why nobody does any more
	failed  string       // what was logged about address last; empty: nothing is wrong
	triedAt time.Time
}

// follow does what the setting says.
func (l *tcp) follow(ctx context.Context) {
	value, _ := l.web.host.ShowSetting(settings.MetricsAddress) // it is there
	if value != l.address {
		l.close()
		l.address, l.failed, l.triedAt = value, "", time.Time{}
	}
	if l.address == "" || l.server != nil || time.Since(l.triedAt) < l.web.retryEvery {
		return
	}
	l.triedAt = time.Now()
	address, err := settings.ParseMetricsAddress(l.address)
	if err != nil {
		return // can't be: the setting has been checked
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		l.fail("bind", err)
		return
	}
	l.web.host.Logf(elog.Log, "listening for metrics on address \"%s\"", listener.Addr())
	server, ended := l.web.newServer(everybody), make(chan error, 1)
	l.server, l.ended, l.failed = server, ended, ""
	go func() { ended <- server.Serve(limitConnections(listener, maxConnections)) }()
}

// fail notes that the address can't be listened at, and says so once.
func (l *tcp) fail(what string, err error) {
	l.close()
	reason := what + ": " + elog.OSReason(err)
	if reason != l.failed {
		l.web.host.Ereport(elog.New(elog.Log, elog.ConnectionFailure, "could not %s metrics address \"%s\": %s", what, l.address, elog.OSReason(err)).
			WithHint("Is something else listening there? It is tried again every %d s; the host goes on.", int(l.web.retryEvery.Seconds())))
	}
	l.failed = reason
}

func (l *tcp) close() {
	if l.server != nil {
		_ = l.server.Close()
	}
	l.server, l.ended = nil, nil
}
