// Command bench is the library of the benchmarks as an executable of its own:
// it links in what an author's library does, and no host.
package main

import (
	"github.com/pgexthost/pgexthost/integration/benchlib"
	"github.com/pgexthost/pgexthost/plugins"
)

func main() { plugins.Main(benchlib.Library()) }
