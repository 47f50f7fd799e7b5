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

	"golang.org/x/sys/unix"
)

// The drivers of Node.js that most applications use, in versions that do not
// change, so that neither does what the test is about.
const (
	nodePg       = "pg@8.16.3"
	nodePostgres = "postgres@3.4.7"
)

// What an application sees through the gateway is what it sees without.
func TestDriversOfNodeSeeThroughTheGatewayWhatTheySeeDirectly(t *testing.T) {
	node, modules := nodeDrivers(t)
	newDatabase(t, "vianode")
	server := privateServer(t)
	g := startGateway(t, server)
	for _, script := range []string{"pg.js", "postgres.js"} {
		t.Run(script, func(t *testing.T) {
			want := runNode(t, node, modules, direct(server), script)
			if !strings.HasSuffix(want, "done: true\n") {
				t.Fatalf("the script has not come to its end:\n%s", want)
			}
			if got := runNode(t, node, modules, g.place(), script); got != want {
				t.Errorf("through the gateway:\n%s\ndirectly:\n%s", got, want)
			}
		})
	}
}

func runNode(t *testing.T, node, modules string, p place, script string) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), limit)
	defer stop()
	cmd := exec.CommandContext(ctx, node, filepath.Join("fixtures", "node", script))
	cmd.Env = append(withoutPostgres(os.Environ()), "NODE_PATH="+modules, "TZ=UTC",
		"PGHOST="+p.dir, fmt.Sprintf("PGPORT=%d", p.port), "PGUSER=postgres", "PGDATABASE=vianode")
	return output(t, cmd)
}

// nodeDrivers returns the program node, and the directory of the drivers, which npm
// puts into the user's cache unless they are there. Without node, or without a way
// to the registry, the test has nothing to go through the gateway with.
func nodeDrivers(t *testing.T) (node, modules string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skipf("no Node.js: %v", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("no place to keep packages in: %v", err)
	}
	dir := filepath.Join(cache, "pgexthost", "node", strings.ReplaceAll(nodePg+"-"+nodePostgres, "@", "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a cache of public packages
		t.Fatal(err)
	}
	defer lockFile(t, filepath.Join(dir, "lock"))()
	complete := filepath.Join(dir, "complete")
	if _, err := os.Stat(complete); err == nil {
		return node, filepath.Join(dir, "node_modules")
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*limit)
	defer stop()
	var said bytes.Buffer
	install := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional", nodePg, nodePostgres)
	install.Stdout, install.Stderr = &said, &said
	if err := install.Run(); err != nil {
		t.Skipf("npm could not install %s and %s: %v\n%s", nodePg, nodePostgres, err, said.String())
	}
	if err := os.WriteFile(complete, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return node, filepath.Join(dir, "node_modules")
}

// lockFile keeps other runs of the tests waiting until unlock.
func lockFile(t *testing.T, path string) (unlock func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { _ = f.Close() }
}
