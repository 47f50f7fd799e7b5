// Package testkit has what the tests of several packages share: the private
// server that they speak to (see [Server]), waits that end, and places for
// sockets. It is for tests alone. It is not for the tests of localpg, which it
// is made of.
//
// All of it is for the goroutine that runs the test: what goes wrong ends the test.
package testkit

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Limit bounds every wait. It only has to tell "late" from "never", also on a
// machine with a lot to do.
const Limit = 2 * time.Minute

// pause is how long [Eventually] waits before it asks again.
const pause = 5 * time.Millisecond

// TB is what the package needs of testing.TB.
type TB interface {
	Helper()
	Cleanup(f func())
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Check ends the test if there is an error.
func Check(t TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Context ends with the patience of a test, see [Limit], and with the test. Unlike
// t.Context() it is still there while the test cleans up.
func Context(t TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	t.Cleanup(cancel)
	return ctx
}

// Eventually waits until something is so.
func Eventually(t TB, what string, isSo func() bool) {
	t.Helper()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	deadline := time.After(Limit)
	for !isSo() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so after %v: %s", Limit, what)
		}
	}
}

// ServerError returns what a server has said in an error, or nil.
func ServerError(err error) *pgconn.PgError {
	told, _ := errors.AsType[*pgconn.PgError](err)
	return told
}

// ShortTempDir makes a directory that is gone with the test. Its path leaves room for
// that of a socket, and every user can enter it.
func ShortTempDir(t TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgx-")
	Check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	Check(t, os.Chmod(dir, 0o755)) //nolint:gosec // that is what it is for
	return dir
}

// FreePort returns a port of 127.0.0.1 on which nobody listens.
func FreePort(t TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	Check(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}
