package launcher

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/pgexthost/pgexthost/connect/servermonitor"
	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/plugins"
)

// runHost is the environment variable that makes the test binary a host; its
// value holds the host's options.
const runHost = "ANALYZER_TEST_HOST"

// server is the real server of the tests, each of which has databases and hosts of
// its own.
var server *localpg.Server

func TestMain(m *testing.M) {
	plugins.Register(Library())
	servermonitor.Register()
	if plugins.IsChild() {
		plugins.RunChild()
	}
	if text := os.Getenv(runHost); text != "" {
		var o host.Options
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(99)
		}
		os.Exit(host.Run(context.Background(), o))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	ctx := context.Background()
	var err error
	if server, err = localpg.Start(ctx, localpg.Options{Settings: []string{"autovacuum_naptime=1s"}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = server.Stop(ctx) }()
	return m.Run()
}
