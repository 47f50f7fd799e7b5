// Package control is how operators reach into a running host: the control
// server, an auxiliary process of the host, and the client that commands such as
// "pgexthost ps" use.
//
//	pgexthost ps ──Client──► unix socket in the data directory ──► control server
//	                                                                │ plugins.Worker
//	                                                          shared memory
//
// A conversation is any number of requests, each followed by its response, both
// JSON in the frames of package handshake. One that waits is the last. The socket has the mode 0600, and the
// server talks only to its own user and to root.
//
// Who speaks HTTP on the socket is served by a [Web], if the program has one:
// package host/metrics. That what it links in is in every child of the program,
// too, is why it is not here.
//
// Invariants:
//
//   - The server does what any worker of the host could do, through the same
//     functions. The postmaster does not know it from other children.
//   - A client that goes away, is slow or sends garbage costs its own connection.
package control
