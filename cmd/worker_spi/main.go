// Command worker_spi is the library worker_spi as a program of its own, for
// dynamic_library_path: see package workerspi.
package main

import (
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/workerspi"
)

func main() { plugins.Main(workerspi.Library()) }
