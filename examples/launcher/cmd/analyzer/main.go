// Command analyzer is the library of package launcher as an executable.
package main

import (
	"github.com/pgexthost/pgexthost/examples/launcher"
	"github.com/pgexthost/pgexthost/plugins"
)

func main() { plugins.Main(launcher.Library()) }
