// Package launcher is the request launcher: the auxiliary process that runs what
// the functions of schema pgexthost ask for. For each database of
// launcher_databases it keeps a session, and makes the slots of the host what the
// tables say.
//
// # The way of a request
//
//	pending ── (a) register held ── (b) commit "started" ── (c) release ──► main
//	   ▲ │                              │
//	   │ └► cancelled, failed           └► ended, failed, when it is gone
//	   └ a registration that came to nothing before (b)
//
// Between (a) and (b) the worker's process exists, but waits at a gate before its
// main function; see plugins.RegisterHeldBackgroundWorker. So whoever dies:
//
//   - the launcher after (a): its successor finds the held worker by its request,
//     and goes on with (b);
//   - the launcher after (b): the row names a handle that is still held: (c);
//   - the host before (b): the row is pending, and main has not run: the next host
//     begins with (a);
//   - the host, or the worker, after (b): the journal says whether main has begun.
//     If not, the next incarnation goes on with (a). If so, a request that never
//     restarts has failed, as PostgreSQL forgets dynamic workers; one that does is
//     registered again;
//   - the server in (b): the row is read again over the next session, and says
//     which of the above it is.
//
// # Invariants
//
//   - Level-triggered: each pass reads the tables and the slots, and does what is
//     missing. Nothing depends on a notification, which only makes the next pass
//     come at once, nor on what a pass remembers of earlier ones.
//   - The main function of a request that never restarts begins once, unless it is
//     terminated before: exactly once whichever processes are killed, once at most
//     if the machine is. That of one that was rolled back or cancelled never does.
//   - One host at a time serves a database: it holds an advisory lock, and each of
//     its transactions checks the epoch that it got with it. What one host has
//     started no other touches, whatever becomes of the first, until a person says
//     that it will not come back (pgexthost.forget_host); it looks after that itself,
//     whether it serves the database or not.
//   - What no table asks for ends. A session's passes end what is not in its tables;
//     orphans.go asks the server about databases without a session, and ends workers
//     only if it says twice, with a grace between, that the tables do not exist.
//   - No row that somebody has locked is waited for.
//   - plan.go decides, and has neither clock nor connection nor process.
package launcher
