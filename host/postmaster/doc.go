// Package postmaster is the core of the host, without the host: it owns every
// decision the postmaster takes, and does nothing. Events go in, commands come
// out; there is no I/O, no goroutine, no lock and no clock in it. A shell
// around it turns the world into events and commands into system calls, and
// tests turn it into a table.
//
//	signals, exits,          ┌───────────────────────┐   Spawn, Signal,
//	slot changes,   ───────► │ Step(now, event)      │ ─► Notify, SetSlotPid,
//	server state             │   the event           │   ReleaseSlot, Log,
//	                         │   auxiliary processes │   Poke, Reload, Exit
//	NextWake() ──► Tick ───► │   launch pass         │
//	                         │   shutdown            │
//	                         └───────────────────────┘
//
// # A worker's registration
//
// The slot's pid, which is all that others see of it, stands in brackets.
//
//	SlotsChanged, Started
//	       │
//	       ▼   start test passes      Spawned
//	 registered [-1] ──► starting [-1] ──► running [n]
//	       ▲ │             ▲      │            │
//	   0.1 s │ a want of   │      │ Spawned    │ Exited
//	    to   │ resources,  │      │ with an    │
//	   10 s  └ for 10 s ◄──┼──────┤ error      │
//	                       │      ▼            ▼
//	 due, and              │     exit 1     exit 1, crash    exit 0
//	 start test passes     │      │            │               │
//	       ┌───────────────┘      ▼            ▼               ▼
//	 waiting [0] ◄─────────── may restart ──────────┐      forgotten
//	       │                      │                 │          ▲
//	       │ terminate            │ lost its server │ never restarts,
//	       ▼                      ▼                 │ terminate
//	   forgotten           waits for news [0]       └──────────┘
//	                         │           │
//	    another server, or   │           │ the same server, and
//	    may restart: waiting ◄           ► never restarts: forgotten
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
//
// # Invariants
//
//   - A slot's pid is positive exactly while the worker of that slot has a live
//     process; there are never two. A slot is released only when it has none.
//   - Whoever waits for a worker is told: a step that changes a slot's pid or
//     releases the slot notifies the waiter after the change, if it lives.
//   - Only pids of live children of ours are ever signalled.
//   - One launch-pass start at most is unanswered. It holds up other starts, and
//     nothing else.
//   - What the slots hold is hostile. It is copied once per decision, and every
//     pid, start time and restart time is checked before it is acted upon.
//   - Exit comes once, last, and not before every start is answered and every
//     child is gone; only 5 s into an immediate shutdown a start that still
//     hangs is given up.
//   - No content of shared memory and no server state makes it loop: every time
//     [Machine.NextWake] returns the present, the next step makes progress.
package postmaster
