// Package localpg runs a private PostgreSQL server for the demo and for tests.
//
// It owns the search for server binaries ([Find]), one temporary directory a
// server (data directory, socket, log, pg_hba.conf), the postmaster process and
// the removal of all of it. It owns nothing else: whoever wants SQL connects
// with [Server.ConnInfo].
//
// # States
//
//	                 Start
//	                   │  initdb or Options.Populate, then postgres
//	                   ▼
//	           ┌──── running ◄───────────┐
//	StopServer,│       │                 │ Restart
//	Crash,     │       │ Stop            │
//	own exit   ▼       ▼                 │
//	         down ─► removed             │
//	           │ Stop                    │
//	           └─────────────────────────┘
//
// A Start that fails, or whose context ends, goes straight to removed.
//
// # Invariants
//
//   - Nothing outlives its owner. The kernel sends SIGQUIT to the postmaster
//     (SIGKILL to initdb) when the owning process is gone, however it went. That
//     signal is tied to the thread that forked, so a goroutine which keeps its
//     thread starts each child and waits for it.
//   - Nothing is deleted while it is in use. A directory belongs to whoever holds
//     the flock on it; the kernel drops the lock with its owner, no child
//     inherits it, and no pid is ever asked. Every Start and Stop deletes the
//     directories whose lock it can take.
//   - When Stop, StopServer or Crash returns nil, no process of the server runs
//     any more, backends included: they share a pipe whose EOF says so. (The
//     kernel closes descriptors after a process has lost its memory, and just
//     before it becomes a zombie.)
//   - Running as root, every server program runs as an unprivileged user.
//   - The environment does not leak in: no PG* or LC_* variable changes what a
//     server does or whether its readiness is seen.
//
// A server is reachable by its owner's user and by root only, through a unix
// socket, unless Options.TCP is set. It does not survive a power failure: fsync
// is off. It does survive kill -9 with every committed transaction.
package localpg
