//go:build linux

package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// withGateway makes the test binary's hosts have a gateway.
const withGateway = "PGEXTHOST_TEST_GATEWAY"

// gatewayHost is a host whose gateway leads to a server.
type gatewayHost struct {
	*testHost
	server *localpg.Server
}

// startGateway starts one, and returns when the gateway listens.
func startGateway(t testing.TB, server *localpg.Server, options ...hostOption) *gatewayHost {
	t.Helper()
	h := startHost(t, append([]hostOption{
		withFileSettingsOnly(), withServer(server.ConnInfo()), withEnvironment(withGateway + "=1"),
	}, options...)...)
	h.waitLog("gateway listening on Unix socket")
	return &gatewayHost{h, server}
}

// conninfo leads through the gateway to a database.
func (g *gatewayHost) conninfo(database string) string {
	return place{g.dir, 5433}.conninfo(database)
}

// gatewayPid is the process's.
func (g *gatewayHost) gatewayPid() (pid int) {
	g.t.Helper()
	g.eventually("the gateway's process", func() bool {
		for _, child := range g.children() {
			if strings.HasSuffix(processTitle(child), ": gateway") {
				pid = child
			}
		}
		return pid != 0
	})
	return pid
}

// place is where a client connects to: the directory of a socket, and the port in
// its name.
type place struct {
	dir  string
	port int
}

func (p place) conninfo(database string) string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", p.dir, p.port, database)
}

// direct is the server's own socket.
func direct(server *localpg.Server) place { return place{server.Dir(), server.Port()} }

// place is the gateway's.
func (g *gatewayHost) place() place { return place{g.dir, 5433} }

// client is a program of PostgreSQL's that connects to a place.
func (p place) client(t testing.TB, name, database string, args ...string) *exec.Cmd {
	t.Helper()
	path := privateServer(t).Binaries().Program(name)
	if path == "" {
		t.Skipf("this installation of PostgreSQL has no %s", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGQUIT) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(withoutPostgres(os.Environ()),
		"PGHOST="+p.dir, fmt.Sprintf("PGPORT=%d", p.port), "PGUSER=postgres", "PGDATABASE="+database,
		"PSQLRC="+os.DevNull, "PSQL_HISTORY="+os.DevNull, "LC_ALL=C", "TZ=UTC")
	return cmd
}

// withoutPostgres leaves out what libpq would take for settings.
func withoutPostgres(environment []string) (rest []string) {
	for _, variable := range environment {
		if !strings.HasPrefix(variable, "PG") {
			rest = append(rest, variable)
		}
	}
	return rest
}

// output runs a program that must not fail, and returns what it has printed, its
// errors behind.
func output(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", filepath.Base(cmd.Path), err, out.String(), errors.String())
	}
	return out.String() + errors.String()
}
