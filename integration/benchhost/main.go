//go:build linux

// Command benchhost is the host that the benchmarks measure: what an author
// builds, and bin/pgexthost, link in, and one library more.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect/servermonitor"
	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/integration/benchlib"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/sql/gateway"
	"github.com/pgexthost/pgexthost/workerspi"
)

func main() {
	switch len(os.Args) {
	case 2:
		doNothing(os.Args[1])
	case 4:
		relay(os.Args[2], os.Args[3])
	}
	plugins.Register(workerspi.Library())
	plugins.Register(benchlib.Library())
	servermonitor.Register()
	gateway.Register()
	if plugins.IsChild() {
		plugins.RunChild()
	}
	var o host.Options
	if err := json.Unmarshal([]byte(os.Getenv("PGEXTHOST_TEST_RUN_HOST")), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	os.Exit(host.Run(context.Background(), o))
}

// doNothing makes a floor of this program: a process that links in the same, and
// comes to main and no further.
func doNothing(how string) {
	if how == "wait" {
		fmt.Println("here")
		_ = unix.Pause()
	}
	os.Exit(0)
}
