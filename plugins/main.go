package plugins

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// Main is the whole main function of a library that is a program of its own.
// Started by a host, the process becomes the child it shall be, and Main does
// not return. Started by a person, it says what it is and exits with code 1.
func Main(l Library) {
	Register(l)
	if IsChild() {
		RunChild()
	}
	functions := slices.Sorted(maps.Keys(l.Functions))
	fmt.Fprintf(os.Stderr, "This is the pgexthost library %q, which is run by a host.\nIts functions: %s.\n", l.Name, strings.Join(functions, ", "))
	os.Exit(1)
}
