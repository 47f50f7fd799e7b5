// Package workerspi is PostgreSQL's worker_spi, the example of a background
// worker that every author starts from: here for pgexthost.
//
// Each worker owns a table "schemaN"."counted" with a type ('total' or 'delta')
// and a value. Every worker_spi.naptime seconds it deletes the delta rows and
// adds their sum to the total row. The total row is the user's to insert:
// without one, deltas are deleted and lost, as in the original.
//
//	start ──► connect ──► create schemaN, if it is not there ──► wait ◄──┐
//	                                                              │ naptime is over, or SIGHUP
//	                                                              ▼      │
//	                                                            count ───┘
//
// It uses nothing but what any author can import, packages plugins and connect:
//
//   - library.go: the library, its settings, its static workers (_PG_init);
//   - main.go: the main function of a worker (worker_spi_main);
//   - table.go: the SQL;
//   - extra.go: what a worker that is registered dynamically carries along.
//
// Invariant: whatever happens between two commits, no delta is counted twice,
// because one statement both deletes and adds.
package workerspi
