package plugins

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/pgexthost/pgexthost/internal/handshake"
)

// Main is the whole main function of a library that is a program of its own.
// Started by a host, the process becomes the child it shall be, and Main does
// not return. Started by a person, it says what it is and exits with code 1.
func Main(l Library) {
	Register(l)
	beProgram(l.Name)
	if IsChild() {
		RunChild()
	}
	functions := slices.Sorted(maps.Keys(l.Functions))
	fmt.Fprintf(os.Stderr, "This is the pgexthost library %q, which is run by a host.\nIts functions: %s.\n", l.Name, strings.Join(functions, ", "))
	os.Exit(1)
}

// beProgram notes that this program is a library: whoever asks for the file,
// under whatever name, means that one.
func beProgram(library string) {
	registry.Lock()
	defer registry.Unlock()
	registry.program = library
	registry.magic = handshake.MagicBlock // storing it is what puts it into the executable
}
