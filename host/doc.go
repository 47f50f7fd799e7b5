// Package host is the postmaster: the process that starts, watches, restarts
// and stops everybody else. It is a thin shell around the pure core in package
// [github.com/pgexthost/pgexthost/host/postmaster], where the rules are.
//
//	signals   children's exits   alarm   timers   answers of the spawner
//	   └────────────┴──────────────┴───────┴──────────────┘
//	                           │ one event at a time
//	                    ┌──────▼──────┐
//	                    │  event loop │ owns all that is mutable here
//	                    └──────┬──────┘
//	                 Step │         ▲ commands
//	                    ┌─▼─────────┴─┐
//	                    │  pure core  │
//	                    └─────────────┘
//	commands: spawn, signal, notify, write slot, log, reload, exit
//
// The life of a host:
//
//	set up ──► preload ──► running ──► stopping ──► exit 0
//	   │          │
//	   └──────────┴──► FATAL, exit 1
//
// Set up checks and locks the data directory, makes the lock file, reads the
// settings and makes the shared memory. Preload runs the Init of each library of
// shared_preload_libraries in a child. The files that tell others how the host
// was started and what it runs with come last; then the core takes over. At the
// end they go in the opposite order, the lock file last and while the directory
// is still locked. Only postmaster.opts stays, for a restart.
//
// Invariants:
//
//   - No plugin code runs in this process, it has no database connection, and
//     it takes no lock in shared memory.
//   - Exactly one goroutine, the one that called [Run], reads and writes the
//     host's state. The others (spawner, one waiter a child, one handshake a
//     child, the alarm's) only post events, or send what the loop has decided
//     to say (the log's, the service manager's).
//   - One step of the core is carried out to its end before the next begins. An
//     event that a command causes waits for that, too.
//   - A child is signalled only between its start and the moment the event loop
//     reaps it, so a signal never hits a process the host did not start. The
//     waiters only look: reaping is the loop's.
//   - All children are started by one thread that lives as long as the host,
//     because their postmaster-death signal is tied to it. It never is the
//     leading thread, to which the kernel gives the orphans of a container: what
//     that one has is reaped by the loop, too, and concerns nobody.
//   - The data directory stays locked until the host and its last child are
//     gone, however they went.
package host
