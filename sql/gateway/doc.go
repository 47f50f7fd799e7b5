// Package gateway is the auxiliary process to which psql and drivers connect: they
// see the real server, with the host's libraries installed in it.
//
//	client ──► accept ──► start-up, TLS ──► authentication ──► relay ──► server
//	                          │                 │ the server's,   │ ▲
//	                          │                 │ passed on       │ └ markers: calls of the host (package call)
//	                     cancel requests        │                 └ statements of extensions (package statement),
//	                                            │                   names of workers' views (package scanner)
//	                                            └ what was not earned by a password is for the host's own user only
//
// # One session
//
// A session is two connections, and two goroutines that pass on messages: up, from
// the client to the server, and down. Messages are told apart by their five-byte
// header, and passed on in the batches in which they came; only the few types that
// matter are looked into. What each goroutine owns is its own; what they have to
// tell each other is in [traffic], under its mutex.
//
// # Invariants
//
//   - The gateway learns no password, and earns nobody a session: who is let in is
//     the server's decision, except that sessions which the server gives to the
//     *gateway* (by trust, peer, ident, certificate or address) are for the user
//     who runs the host, over a socket that tells who its peer is.
//   - Before a client is let in it costs a bounded amount of memory and time.
//   - The down goroutine never waits for a client that does not read until it has
//     read lookAhead bytes more, so that a call is seen behind other messages.
//   - A message that is not understood is the server's to complain about.
package gateway
