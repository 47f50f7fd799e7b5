// Package trampoline starts a process with limits that hold before the first
// instruction of its program. There is no other way to have all of them: rlimits
// and niceness can be changed from outside, but not before the program runs, and
// no_new_privs only from inside.
//
// So the host starts itself once more, told by [Order.Environment] what to do. That
// process puts the limits into force and executes the program, in its own place:
// pid, descriptors, signals that wait, and the signal at the host's death stay
// what they are. If something can't be put into force, the program never runs,
// and the host learns the reason in the place of the program's Hello.
//
//	host                         trampoline                   program
//	 │ fork, exec /proc/self/exe      │                          │
//	 │───────────────────────────────►│ limits                   │
//	 │                                │ exec                     │
//	 │                                │─────────────────────────►│
//	 │ Startup                        │                          │
//	 │──────────────────────────────────────────────────────────►│
//
// All of it happens while this package is initialized. Then the goroutine is
// still on the main thread, which is the one that the kernel has told about the
// host's death, and no code of a library that uses package plugins has run in
// this process: what it imports is initialized first.
package trampoline
