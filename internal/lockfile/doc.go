// Package lockfile owns the two files by which a host can be found from
// outside: postmaster.pid, which says who runs in a data directory, and
// postmaster.opts, which says how it was started. The host writes them,
// commands such as "pgexthost stop" read them. Their formats are PostgreSQL's.
//
// postmaster.pid has eight lines:
//
//	1  pid of the postmaster
//	2  data directory
//	3  start, in seconds since 1970
//	4  port, 0 while the host listens on none
//	5  directory of the unix socket, or empty
//	6  listen address, or empty
//	7  two numbers that identify the process: see below
//	8  status: starting, ready, standby or stopping, padded to eight bytes
//
// Line 7 is the key of a shared memory segment in PostgreSQL. This host's
// segment has none; instead the line holds the start of the process in clock
// ticks since boot, and its PID namespace. A pid alone says little: the kernel
// uses it again, and in containers all hosts have the same.
//
// Invariants:
//
//   - Whoever makes, changes or removes the file holds the lock of the data
//     directory. That lock, which all children of a host inherit, is what keeps
//     two hosts apart; the file is for people and programs who want to know
//     which host it is.
//   - Who reads the file finds none or a whole one: it is written beside its
//     place, linked there, and from then on changed in one write that keeps its
//     length.
//   - A process is never taken for the host because of its pid alone if its
//     start tells otherwise, and is signalled through a descriptor, so that a
//     signal never hits a stranger.
package lockfile
