// Command janitor is a host with one worker compiled in: the Go half of the
// example of docs/C-TO-GO.md. What is shown there is janitor.go.
package main

import (
	"context"
	"os"

	"github.com/pgexthost/pgexthost/connect/servermonitor"
	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/plugins"
)

func main() {
	plugins.Register(library())
	servermonitor.Register()
	if plugins.IsChild() {
		plugins.RunChild()
	}
	os.Exit(host.Run(context.Background(), host.Options{
		DataDir:  os.Args[1],
		Settings: append([]string{"shared_preload_libraries=janitor"}, os.Args[2:]...),
	}))
}
