// Package plugins is what the author of a background worker imports: the
// description of a worker, libraries and their Init, settings, and the process
// a worker runs in. It keeps PostgreSQL's names and rules; where the C function
// takes a global, there is a method of [Worker] or [Init].
//
// A library registers workers in its Init and has the functions they start in:
//
//	func main() { plugins.Main(Library()) }
//
//	func Library() plugins.Library {
//		return plugins.Library{Name: "mine", Init: initialize, Functions: plugins.Functions{"mine_main": mineMain}}
//	}
//
// Such a program explains itself when a person starts it, and runs one of its
// workers without a host if asked to: see [Main]. Package pluginstest runs a worker's
// main function in a test, or a whole host for it.
//
// A running worker can register others, wait for them and end them: see
// [Worker.RegisterDynamicBackgroundWorker] and what it mentions.
//
// The life of a worker's process, each step in the order given:
//
//	exec ─► handshake ─► Init of preloaded libraries ─► lookup ─► READY ─► main ─► exit
//	                                                                │       │
//	   SIGTERM, SIGINT, SIGHUP are held back until here ────────────┘       │
//	                                                                        │
//	   nil ──────────────────────────────► exit 0: unregistered             │
//	   error, panic, Goexit ──► ERROR ───► exit 1: restarted after a while ◄┤
//	   SIGTERM ──► ctx ends ──► FATAL ───► exit 1                          ◄┤
//	   SIGQUIT, panic in another goroutine ► exit 2: a crash               ◄┘
//
// Invariants:
//
//   - There is one Worker in a process. One goroutine runs the signal handlers,
//     one at a time; another serves what no handler may delay: SIGQUIT, SIGUSR1
//     and the host's death.
//   - A SIGTERM is never lost, whenever it comes: before the handlers exist it
//     ends the process, before READY it is remembered, by the process and by the
//     postmaster, and afterwards it is handled at once.
//   - When the host dies every wait returns, the context ends, and the process
//     is gone half a second later at the latest.
//   - A process that ends through the runtime leaves a clean mark in shared
//     memory, and neither a lock there nor anything that the host was not told
//     of; one that is killed, or calls os.Exit, may leave those, but no mark.
//   - A wait for another worker ends: with that worker's change, within a second
//     of it if nobody notifies, with the context, or with the host.
//   - This package depends neither on pgx nor on net/http: what is linked in is
//     what the start of a worker costs.
package plugins
