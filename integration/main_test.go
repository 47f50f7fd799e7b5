//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/pgexthost/pgexthost/connect/servermonitor"
	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/host/metrics"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/sql/gateway"
	requestlauncher "github.com/pgexthost/pgexthost/sql/launcher"
	"github.com/pgexthost/pgexthost/workerspi"
)

// runHost is the environment variable that makes the test binary a host; its
// value holds the host's options.
const runHost = "PGEXTHOST_TEST_RUN_HOST"

func TestMain(m *testing.M) {
	plugins.Register(workerspi.Library())
	plugins.Register(faultsLibrary())
	plugins.Register(failpointsLibrary())
	if os.Getenv(noMonitor) == "" {
		servermonitor.Register()
	}
	if os.Getenv(auxiliaryLauncher) != "" {
		plugins.RegisterAuxiliary("launcher", launcher)
	}
	if os.Getenv(withLauncher) != "" {
		plugins.Register(effectsLibrary())
		requestlauncher.Register()
	}
	if os.Getenv(withGateway) != "" {
		gateway.Register()
	}
	metrics.Register()
	if plugins.IsChild() {
		plugins.RunChild()
	}
	if text := os.Getenv(setLimit); text != "" {
		beLimiter(text)
	}
	if options := os.Getenv(runHost); options != "" {
		var o host.Options
		if err := json.Unmarshal([]byte(options), &o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(99)
		}
		os.Exit(host.Run(hostContext(), o))
	}
	code := m.Run()
	stopSharedServer()
	removeFailpointProgram()
	removeMisfit()
	os.Exit(code)
}

// skipIfShort leaves a test out that takes long and has little for the race detector
// to see.
func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: it runs without -short")
	}
}

// noMonitor leaves the server monitor out, for tests that have no server and
// count processes.
const noMonitor = "PGEXTHOST_TEST_NO_MONITOR"

// runWhileOpen makes the host's context end with its standard input.
const runWhileOpen = "PGEXTHOST_TEST_WHILE_OPEN"

func hostContext() context.Context {
	if os.Getenv(runWhileOpen) == "" {
		return context.Background()
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}
