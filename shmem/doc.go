// Package shmem owns the shared memory of a host: one sealed memfd segment
// that the postmaster makes and every child maps, and the few primitives that
// work across processes on top of it. All of the project's unsafe code is
// here.
//
// The segment:
//
//	┌────────────────────────────────────────────────────────────┐ 0
//	│ header   magic, version, layout hash, incarnation, sizes   │
//	│          slot lock, parallel counters, server state,       │
//	│          reasons to wake the postmaster                    │
//	├────────────────────────────────────────────────────────────┤ 4096
//	│ slots    one per max_worker_processes                      │
//	├────────────────────────────────────────────────────────────┤ page aligned
//	│ procs    one record per child: latch, flags, activity      │
//	├────────────────────────────────────────────────────────────┤ page aligned
//	│ tombs    what is known of workers that are unregistered    │
//	└────────────────────────────────────────────────────────────┘
//
// The life of a slot, where in_use hands the slot over between the two sides:
//
//	          Claim (slot lock): descriptor, pid = -1,
//	          generation+1, then in_use = 1
//	backends ────────────────────────────────────────────► postmaster
//	in_use=0                                                in_use=1
//	   ▲       Release: parallel counter, then in_use = 0      │
//	   └───────────────────────────────────────────────────────┘
//	pid, while in use:  -1 not yet started → n running ⇄ 0 not running
//
// Invariants:
//
//   - While in_use is 0 only holders of the slot lock write to a slot; while it
//     is 1 only the postmaster does, with two exceptions: anybody may set
//     terminate, and open the gate that a held worker waits at.
//   - What is written before a store to in_use is visible to whoever has read
//     that store. Go's atomics are sequentially consistent, which is more than
//     PostgreSQL's barriers ask for.
//   - Slots are claimed and terminated, and gates opened, under the slot lock, and
//     read without: what a read shows was true at some moment of it. The tests
//     hold a model that tries every interleaving.
//   - The postmaster takes no lock, computes every offset from its own copy of
//     the geometry, and copies what it reads with bounds. No content of the
//     segment can crash it, block it or make it loop.
//   - What garbage can do to children ends with it: change counts heal, sleepers
//     look around unasked, slots and header are restored by the postmaster, a slot
//     lock that names nobody who can hold it is broken, and the counters of
//     parallel workers refuse nobody by themselves.
//   - A slot lock that names a living child is believed. Whether it is inside, only
//     its private memory says: all else that could tell is as shared, and as
//     writable, as the lock. Who waits for it goes on when that child ends, and
//     can be terminated meanwhile.
//   - The segment never changes size, and holds no Go pointers. Programs whose
//     layouts differ in any field refuse to share it.
package shmem
