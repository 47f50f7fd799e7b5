// Package handshake is the contract between the postmaster and a process it
// has started, as docs/PROTOCOL.md describes it: which descriptors the child
// inherits, and the messages on the handshake socket.
//
//	postmaster                                child
//	    │  fork, exec with descriptors 3..7     │
//	    │──────────────────────────────────────►│
//	    │  Startup                              │
//	    │──────────────────────────────────────►│ checks versions, maps the segment
//	    │                                Hello  │
//	    │◄──────────────────────────────────────│
//	    │       PreloadResult (preload only)    │
//	    │◄──────────────────────────────────────│
//
// Invariants:
//
//   - The child's standard output is no part of the contract.
//   - Neither side trusts the other's lengths: a frame is bounded by
//     [MaxFrame], and a reader never allocates more than has arrived.
package handshake
