// Package postmaster is the core of the host, without the host: it owns every
// decision the postmaster takes, and does nothing. Events go in, commands come
// out; there is no I/O, no goroutine, no lock and no clock in it. A shell
// around it turns the world into events and commands into system calls, and
// tests turn it into a table.
//
//	signals, exits,          ┌───────────────────────┐   Spawn, Signal,
//	slot changes,   ───────► │ Step(now, event)      │ ─► Notify, SetSlotPid,
//	server state,            │   the event           │   ReleaseSlot, Log,
//	settings                 │   auxiliary processes │   Poke, Reload,
//	NextWake() ──► Tick ───► │   launch pass         │   SetStatus,
//	                         │   shutdown            │   CheckLockFile, Exit
//	                         └───────────────────────┘
//
// # A worker's registration
//
// The slot's pid, which is all that others see of it, stands in brackets.
//
//	 SlotsChanged,    start test                Spawned
//	 Started          passes                    with a pid
//	──────► registered ──────► starting ──────────────────► running
//	           [-1]              [-1, 0]                      [n]
//	             ▲                │   │ Spawned                │ Exited
//	             └────────────────┘   │ with an error          │
//	          want of resources:      ▼                        ▼
//	          again, for 10 s       ended: what now?
//
//	 it exited with 0, shall terminate, or never restarts ──► forgotten
//	 its server was lost (SPEC 5) ──► lost [0] ── news of a server ──┬─► forgotten
//	                                                                 ▼
//	 any other error or crash ──────────────────────────────► waiting [0] ──► starting
//	                                           restart time over, start test passes
//
// A start is asynchronous because an exec can hang. Until its answer the child
// exists without a pid, and whatever signal it should have got it gets with the
// answer.
//
// # The postmaster
//
//	init ──Started──► run ──smart, fast──► wait for workers ──► wait for auxiliaries ──► exited
//	  │                │                    ▲   SIGTERM to         SIGTERM to              Exit
//	  └────────────────┴──── immediate ─────┘   workers            auxiliaries
//	                            SIGQUIT to all children, SIGKILL after 5 s
//	                            (after 5 s of SIGTERM for auxiliaries, too)
//
// A smart stop leaves run when the gateway's last SQL session has ended, or the
// gateway has. From then on a smart or fast stop waits for ever, as PostgreSQL's
// does, or sends SIGKILL after worker_stop_timeout; every 10 s it says whom it
// waits for.
//
// # Invariants
//
//   - A slot's pid is positive exactly while the worker of that slot has a live
//     process; there are never two. A slot is released only when it has none.
//   - Whoever waits for a worker is told: a step that changes a slot's pid or
//     releases the slot notifies the waiter after the change, if it lives.
//   - A worker that shall not start again is forgotten by the step in which it has
//     no child: no launch pass and no crash cycle ever finds one. Nor do they find
//     somebody to notify who is gone: his end has been noted at his workers.
//   - Only pids of live children of ours are ever signalled.
//   - One launch-pass start at most is unanswered. It holds up other starts, and
//     nothing else.
//   - What the slots hold is hostile. It is copied once per decision, and every
//     pid, start time and restart time is checked before it is acted upon. No
//     step reads the slots after it has released one, because the slot is not
//     free before the command is executed.
//   - Exit comes once, last, and not before every start is answered and every
//     child is gone; only 5 s into an immediate shutdown a start that still
//     hangs is given up.
//   - No content of shared memory and no server state makes it loop: every time
//     [Machine.NextWake] returns the present, the next step makes progress.
package postmaster
