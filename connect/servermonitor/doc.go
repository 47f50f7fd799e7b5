// Package servermonitor watches the real PostgreSQL server on the host's
// behalf. [Main] is the main function of an auxiliary process: it keeps one
// session with the maintenance database and publishes what that tells about the
// server, as a PostgreSQL's own startup process tells its postmaster.
//
// # States
//
//	                      session opened, in recovery
//	          ┌────────────────────────────────────────────► standby ─┐
//	          │                                                 │     │ session lost,
//	unreachable ◄──────── session lost, or no answer ────────── │ ──► │ or no answer
//	  ▲     │ │                                                 │ promoted
//	  │     │ └───────────────────────────────────────────────► ▼
//	  │     │ 57P03          session opened, not in recovery  read-write
//	  │     ▼                                                   ▲
//	  └─ starting ──────────────────────────────────────────────┘
//
// Unreachable is also a server that answers, but lets nobody in: a wrong
// password, no such database, too many connections; and what answers but is no
// PostgreSQL server. What keeps workers from starting is all the same; the log
// says which it is.
//
// # Pieces
//
//   - prober: opens the session and asks it (prober, session).
//   - machine: pure; from what was found to the state to publish, the line to
//     log and the time to wait. Every rule above is tested without a server.
//   - monitor: the loop that joins them with the process's latch.
//   - repair: puts back what workers left open in the server, once it takes writes
//     (connect.RepairDatabases).
//
// # Invariants
//
//   - The loss of the session is noticed at once, since the process reads from
//     it while it waits; a promotion within a second; a server that hangs within
//     two times 10 seconds. Of several hosts each has 10 seconds to answer.
//   - Only an answer that is fully understood makes a server standby or
//     read-write. None, however long, takes more than a few MiB of memory.
//   - Whoever sets the latch learns whether the server takes new sessions: one that
//     shuts down answers for a while over those it has.
//   - A look costs the server one connection, or none; looks at one that cannot be
//     used become rare, up to 5 seconds apart, or 30 if a person has to act.
//   - SIGTERM ends the process at once, whatever the server does.
//   - One log line when the server comes or goes, and one for each new reason why
//     it cannot be used; none for each attempt, nor for the moments in which a
//     server that was not there starts up.
//   - Interruptible workers that are in the way of a command on their database are
//     terminated while that command still waits: see makeRoom. As long as no such
//     worker runs, the server is not asked.
//   - No wait outlasts the postmaster, and setting the latch ends every pause
//     between two looks: "look again now".
package servermonitor
