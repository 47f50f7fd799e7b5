package plugins

import (
	"os"

	"github.com/pgexthost/pgexthost/internal/handshake"
)

// Main is the whole main function of a library that is a program of its own. It
// does not return.
//
// Started by a host, the process becomes the child it shall be. Started by a
// person, without arguments or with --help, it says what it is: its functions, its
// workers, its settings, and how to run it under a host. With --standalone
// FUNCTION it runs one worker in this very process, without a host, for instance
// under a debugger:
//
//	dlv debug . -- --standalone retention_main --server "host=localhost dbname=app" -c retention.naptime=5s
//
// Such a worker lives as under a host: its log, on standard error, its session and
// its exit code are the same. Ctrl-C is SIGTERM to it, a second one ends it at
// once; SIGHUP, SIGUSR1, SIGUSR2 and SIGTERM are what they are. What needs a host
// fails with SQLSTATE 53000: dynamic workers, handles and waits for them.
func Main(l Library) {
	Register(l)
	beProgram(l.Name)
	if IsChild() {
		RunChild()
	}
	os.Exit(newByHand(l).main(os.Args[1:]))
}

// beProgram notes that this program is a library: whoever asks for the file,
// under whatever name, means that one.
func beProgram(library string) {
	registry.Lock()
	defer registry.Unlock()
	registry.program = library
	registry.magic = handshake.MagicBlock // storing it is what puts it into the executable
}
