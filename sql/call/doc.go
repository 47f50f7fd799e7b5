// Package call answers functions of schema pgexthost that return what the host
// does, in the transaction of their caller: it is the gateway's end of
// pgexthost.call.
//
//	client ── gateway ───────────────── server process of the session
//	             │  ◄── INFO PX001: verb, argument, number, proof ── pgexthost.call(…)
//	             ▼                                                        │ looks at pg_locks,
//	          Session ─► control ─► verb                                  │ waits for the state lock
//	                        │ ◄─ reply ─┘                                 │
//	                        └── locks of its own session ───────────────►─┘
//
// # Why locks
//
// The answer must reach a function in the middle of a statement, whatever the
// isolation level, in a READ ONLY transaction and on a standby: no row that
// somebody else writes does. Advisory locks do, and waiting for one ends with
// statement_timeout, a cancel request and pg_terminate_backend.
//
// For each session the control holds one state lock, in the form of two integers:
// "pgS" with a number from 0 to 7, and the process id of the session. What it says
// is in shared locks in the form of one bigint: process id (22 bits), attempt (2),
// place of the word (8), word (32). To say something, it lets go of what it said
// before, takes the locks for that, takes the next state lock, and lets go of the
// former, in one round trip. The function looks at all of this at once; if the
// answer is not there, it waits for the state lock that it has seen, and looks
// again.
//
// What is said is sealed (seal.go): nobody but the two ends can read it, write it or
// know beforehand which locks it will be. An answer that is longer than 1012 bytes
// comes in pieces, each of which the function asks for; so does one for which the
// server has not enough locks left, in smaller ones.
//
// # The life of a call
//
//	Handle ─► proved ─► verb runs ──► replied ──► read ─► Over
//	             │         │ 1 s │       ▲  │ "more"  ▲
//	             │         └─► working ──┘  └─────────┘
//	             └ forged: no effect
//
// # Invariants
//
//   - A control never waits for a lock: whoever takes one of its keys delays an
//     answer by 200 ms at most.
//   - A session makes one call at a time. What it asks next, or the end of its
//     statement, cancels the one before.
//   - A reply is for one number of one session: a stale one fits no other call.
//   - Who may do what is for the SQL functions to say. A request is proved with the
//     secret of the schema, which only its owner reads, and is for one session; its
//     number counts once.
//   - One goroutine a database owns the locks, the session that holds them and the
//     calls. Nobody else waits for the server.
//   - A session that is lost is opened again, and what was said is said again.
package call
