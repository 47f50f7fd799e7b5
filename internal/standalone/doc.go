// Package standalone is the way into package plugins for those who run a worker
// without a host: package pluginstest, which needs more of it than authors shall
// see. Package plugins sets [Start] and [WatchOf] when it is initialized; the
// option --standalone uses the same engine, and no hook.
//
// A [Watch] is how a test follows the waits of a worker:
//
//	          Begin       Sleeps                 End
//	working ─────────► ─────────► waiting ───────────────► working
//	                                 │  Expire: as if its    ▲
//	                                 └─ time-out had passed ─┘
//
// Invariant: under a Watch the time-out of WaitLatch never passes by itself. What
// a test sees depends on what it does, not on how busy the machine is.
package standalone
