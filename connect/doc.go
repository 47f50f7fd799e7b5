// Package connect opens sessions with the real PostgreSQL server.
//
// It owns everything that knows the wire protocol's client side: connection
// strings ([ParseConninfo]), a worker's one session ([InitializeConnection],
// [InitializeConnectionByOID]), transactions ([Conn.InTransaction]), and the
// meaning of errors ([IsServerEvent], [SQLState], [AsErrorData]). Package
// plugins knows a session only as an interface, so that a worker without a
// database links no driver. The subpackage servermonitor is the auxiliary
// process that watches the server.
//
// # A worker's connection
//
//	             InitializeConnection
//	none ──────────────────────────────► opening ──► idle ◄────────────┐
//	  ▲                                     │         │                │ end of the
//	  └───── error: FATAL, and main may ◄───┘         │ statement      │ statement,
//	         try again, though it usually             ▼                │ commit,
//	         returns it                            running ────────────┤ rollback,
//	                                               │  │                │ SIGINT (57014)
//	          server or network gone, SIGTERM that │  │                │
//	          the server does not answer in time   │  └─► idle in transaction
//	                                               ▼
//	                                             closed ── for good: one session a worker
//
// # Invariants
//
//   - One session a worker, to one database, for its whole life. A session
//     that is lost is not replaced: main returns the error and the host starts
//     the worker again when the server is back.
//   - Nothing is sent to the server that the settings or the plugin did not ask
//     for, except application_name, client_encoding, the three timeouts that
//     [KeepTimeouts] lists, and what makes the session one of another role.
//   - A password of the host's own user is sent for no other user.
//   - No statement of the package finds an operator by a search_path that somebody
//     else has chosen.
//   - A database that [BypassAllowConn] has opened has the record of it, in the
//     same transaction, until it is put back. See closedDatabase.
//   - The end of a context cancels the statement on the server, by a cancel
//     request; the socket is dropped only if the server does not answer.
//   - Every error that means "the server is gone" carries a SQLSTATE that says
//     so (class 08 where the server did not send one), whether or not whoever
//     looks at it knows pgx.
//   - Whatever listens where the server should cannot make a process take memory,
//     or panic, before the session is open: see longestMessage and longestAnswer.
//   - No password is in any error, whether as text or as a wrapped value.
package connect
