package pluginstest

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/pgexthost/pgexthost/connect/servermonitor"
	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/plugins"
)

// Environment variables that make a test binary a host: its data directory, and
// whether it does without a server.
const (
	envHost     = "PLUGINSTEST_HOST"
	envNoServer = "PLUGINSTEST_NO_SERVER"
)

// compiledIn are the names of the libraries that Main was given. Nil: it was not
// called.
var compiledIn atomic.Pointer[[]string]

// Main runs the tests of a test binary and deletes what Server and NewCluster have
// made, for TestMain: os.Exit(pluginstest.Main(m)). Without it the server's directory
// stays in the temporary directory until another test binary that uses Server cleans up.
//
// Where StartHost is used, Main is given the libraries that its hosts have compiled
// in, and is called first thing: the test binary is the hosts' program, and that of
// their workers. In those processes Main does not return.
func Main(m *testing.M, libraries ...plugins.Library) (code int) {
	if dir := os.Getenv(envHost); dir != "" || plugins.IsChild() {
		beHost(dir, libraries)
	}
	names := make([]string, 0, len(libraries))
	for _, l := range libraries {
		names = append(names, l.Name)
	}
	compiledIn.Store(&names)
	code = m.Run()
	if err := removeServers(); err != nil {
		fmt.Fprintf(os.Stderr, "could not remove the private PostgreSQL server: %v\n", err)
		return max(code, 1)
	}
	return code
}

// beHost is what every author's own host does in main.
func beHost(dir string, libraries []plugins.Library) {
	for _, l := range libraries {
		plugins.Register(l)
	}
	if os.Getenv(envNoServer) == "" {
		servermonitor.Register()
	}
	if plugins.IsChild() {
		plugins.RunChild()
	}
	os.Exit(host.Run(context.Background(), host.Options{DataDir: dir}))
}
