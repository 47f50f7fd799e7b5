package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// fakeHost is a data directory with a host, this process, and a listener in
// place of the control server. What it accepts is given to serve.
func fakeHost(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgx-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if _, err := lockfile.Create(dir); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn)
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-ended })
	return dir
}

func expectReport(t *testing.T, err error, code elog.SQLState, message, hint string) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	report := elog.AsErrorData(err, elog.Error)
	if report.Code != code || !strings.Contains(report.Message, message) || !strings.Contains(report.Hint, hint) {
		t.Errorf("got %s %q, hint %q", report.Code, report.Message, report.Hint)
	}
}

// A server that is stopped must not stop those who look for it.
func TestAServerThatDoesNotAnswerIsGivenUp(t *testing.T) {
	dir := fakeHost(t, func(conn net.Conn) { t.Cleanup(func() { _ = conn.Close() }) })
	c := dial(t, dir)
	_, err := c.do(t.Context(), Request{Op: OpPs}, time.Millisecond)
	expectReport(t, err, elog.ConnectionFailure, "the control server of the host has not answered within 0 s", fmt.Sprintf("kill KILL %d", os.Getpid()))

	// A request that waits has all the time there is.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := dial(t, dir).do(ctx, Request{Op: OpLaunch, Wait: true}, time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAServerThatHangsUpIsReportedAsSuch(t *testing.T) {
	dir := fakeHost(t, func(conn net.Conn) {
		var r Request
		_ = handshake.Read(conn, &r)
		_ = conn.Close()
	})
	_, err := dial(t, dir).Do(t.Context(), Request{Op: OpPs})
	expectReport(t, err, elog.ConnectionFailure, "the host closed the connection unexpectedly", "The log of the host says more.")
}

func TestDialSaysWhatToDoAboutASocketThatIsNotThere(t *testing.T) {
	dir := fakeHost(t, func(conn net.Conn) { _ = conn.Close() })
	expectReport(t, unreachable("path", os.ErrNotExist), elog.SQLClientUnableToConnect, "could not connect to socket \"path\"", "\"pgexthost: control server\" with SIGTERM")
	if err := os.Remove(filepath.Join(dir, SocketName)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it would look again for five seconds
	_, err := Dial(ctx, dir)
	if elog.CodeOf(err) != elog.SQLClientUnableToConnect {
		t.Errorf("got %v", err)
	}
}
