package queue

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
const runHost = "QUEUE_TEST_HOST"

// server is the real server of the tests that do no harm to it. Those that crash
// one start their own, from the template.
var (
	server   *localpg.Server
	template *localpg.Template
)

func TestMain(m *testing.M) {
	plugins.Register(Library(testHandlers))
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
	if template, err = localpg.NewTemplate(ctx, localpg.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = template.Close() }()
	if server, err = localpg.Start(ctx, localpg.Options{Populate: template.Populate}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = server.Stop(ctx) }()
	return m.Run()
}
