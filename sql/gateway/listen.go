package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// listenPause is the time between attempts to listen where that has failed.
const listenPause = 5 * time.Second

// listen listens on everything that the settings name. Where it fails, it says so
// once, and tries again until it succeeds: another program may leave the port, an
// address may come up.
func (g *gateway) listen(ctx context.Context, read *guc.Store) {
	port := strconv.Itoa(read.Int(settings.Port))
	for _, dir := range names(read.String(settings.UnixSocketDirectories)) {
		path := filepath.Join(dir, ".s.PGSQL."+port)
		g.clients.Go(func() {
			g.keepListening(ctx, "Unix socket \""+absolute(path)+"\"", func() (net.Listener, error) { return listenUnix(ctx, path) })
		})
	}
	for _, host := range names(read.String(settings.ListenAddresses)) {
		if host == "*" {
			host = ""
		}
		address := net.JoinHostPort(host, port)
		g.clients.Go(func() {
			g.keepListening(ctx, "address \""+address+"\"", func() (net.Listener, error) { return g.listenTCP(ctx, address) })
		})
	}
}

// absolute is a path as psql -h takes it, which looks up as a host whatever does not
// begin with a slash. What is listened on stays short.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// names splits a list of a setting.
func names(list string) (all []string) {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.Trim(strings.TrimSpace(name), `"`); name != "" {
			all = append(all, name)
		}
	}
	return all
}

func (g *gateway) keepListening(ctx context.Context, what string, open func() (net.Listener, error)) {
	said := ""
	for {
		listener, err := open()
		if err == nil {
			g.worker.Logf(elog.Log, "gateway listening on %s", what)
			g.accept(ctx, listener)
			return
		}
		if ctx.Err() != nil {
			return
		}
		report := listenFailure(what, err)
		if report.Message != said {
			said = report.Message
			g.worker.Ereport(report)
		}
		select {
		case <-time.After(listenPause):
		case <-ctx.Done():
			return
		}
	}
}

func listenFailure(what string, err error) *elog.ErrorData {
	var own *elog.ErrorData
	if errors.As(err, &own) {
		return own
	}
	reason := elog.OSReason(err)
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		reason = fmt.Sprintf("could not translate host name \"%s\" to address: %s", dns.Name, dns.Err)
	}
	e := elog.New(elog.Warning, elog.FileAccessCode(err), "the gateway could not listen on %s: %s", what, reason).
		WithDetail("It tries again every %d seconds.", int(listenPause/time.Second))
	if errors.Is(err, syscall.EADDRINUSE) {
		e.Hint = "Is another host or server already running on that port? Set \"port\" to another one, and restart the host."
	}
	return e
}

// listenTCP listens on an address, but not where clients would get no TLS although
// ssl is on: those that only prefer it would send all in the clear.
func (g *gateway) listenTCP(ctx context.Context, address string) (net.Listener, error) {
	if why := g.settings().noTLS; why != nil {
		return nil, elog.New(elog.Warning, why.Code, "the gateway could not listen on address \"%s\": %s", address, why.Message).
			WithDetail("%s", cmp.Or(why.Detail, "While \"ssl\" is on, it listens on no address without a certificate.")).
			WithHint("Put \"ssl_cert_file\" and \"ssl_key_file\" right, or set \"ssl\" to off, and reload the host.")
	}
	return (&net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true}}).Listen(ctx, "tcp", address)
}

// maxSocketPath is the length of sockaddr_un's path but for the NUL.
const maxSocketPath = 107

// listenUnix makes a socket. One that is there already, and at which nobody
// answers, is what a killed host has left.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, elog.New(elog.Warning, elog.InvalidParameterValue, "Unix-domain socket path \"%s\" is too long (maximum %d bytes)", path, maxSocketPath)
	}
	if conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path); err == nil {
		_ = conn.Close()
		return nil, syscall.EADDRINUSE
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, elog.New(elog.Warning, elog.FileAccessCode(err), "could not remove old socket \"%s\": %s", path, elog.OSReason(err))
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	// The mode of PostgreSQL's unix_socket_permissions: who is let in is the server's
	// decision. That of the data directory keeps everybody out who is not its owner.
	if err := os.Chmod(path, 0o777); err != nil { //nolint:gosec // see above
		_ = listener.Close()
		return nil, err
	}
	return listener, nil
}
