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

// The driver of Node.js that most applications use, in a version that does not
// change, so that neither does what the test is about.
const nodeDriver = "pg@8.16.3"

// What an application sees through the gateway is what it sees without.
func TestTheDriverOfNodeSeesThroughTheGatewayWhatItSeesDirectly(t *testing.T) {
	node, modules := nodeModules(t)
	newDatabase(t, "vianode")
	server := privateServer(t)
	g := startGateway(t, server)
	want := runNode(t, node, modules, direct(server))
	if !strings.HasSuffix(want, "done: true\n") {
		t.Fatalf("the script has not come to its end:\n%s", want)
	}
	if got := runNode(t, node, modules, g.place()); got != want {
		t.Errorf("through the gateway:\n%s\ndirectly:\n%s", got, want)
	}
}

func runNode(t *testing.T, node, modules string, p place) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), limit)
	defer stop()
	cmd := exec.CommandContext(ctx, node, filepath.Join("fixtures", "node", "pg.js"))
	cmd.Env = append(withoutPostgres(os.Environ()), "NODE_PATH="+modules, "TZ=UTC",
		"PGHOST="+p.dir, fmt.Sprintf("PGPORT=%d", p.port), "PGUSER=postgres", "PGDATABASE=vianode")
	return output(t, cmd)
}

// nodeModules returns the program node, and the directory of the driver, which npm
// puts into the user's cache unless it is there. Without node, or without a way
// to the registry, the test has nothing to go through the gateway with.
func nodeModules(t *testing.T) (node, modules string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skipf("no Node.js: %v", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("no place to keep packages in: %v", err)
	}
	dir := filepath.Join(cache, "pgexthost", "node", strings.ReplaceAll(nodeDriver, "@", "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
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
	install := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional", nodeDriver)
	install.Stdout, install.Stderr = &said, &said
	if err := install.Run(); err != nil {
		t.Skipf("npm could not install %s: %v\n%s", nodeDriver, err, said.String())
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
