// Command retention is a retention and partition manager: it creates range
// partitions before they are needed, and detaches, moves or drops them when they
// have expired, as the rows of a table say. README.md is for those who run it.
//
// It is a library of pgexthost that imports what any author can import. One
// worker looks after one database:
//
//	         lock taken by                     a lock was not to be had
//	       another host's worker                 1 s, 2 s, 4 s …
//	             ┌────┐                             ┌────┐
//	             │    ▼                             │    ▼
//	connect ──► standby ──► migrate the schema ──► round ──► wait naptime ──┐
//	                                                 ▲                      │
//	                                                 └──────────────────────┘
//
// A round follows each policy: it surveys the table, plans, and does what is
// missing, partitions first that applications will need.
//
//   - library.go, worker.go: settings, registration, the loop above;
//   - schema.go, schema/: the tables of schema "retention", by version;
//   - manager.go, job.go: a round, a policy's part of it, and what errors mean;
//   - table.go, survey.go: what there is;
//   - ordinal.go, grid.go: values of a key as numbers, and where boundaries are;
//   - plan.go: what there is to do, a pure function;
//   - create.go, naming.go, retire.go: doing it;
//   - session.go, report.go: statements, and what is told of them.
//
// Invariants:
//
//   - The catalogs are the state. A plan is made of what is there, never of what
//     was done; so the worker can be killed anywhere, or be off for a year.
//   - A partition comes to be in one transaction, and goes in several. Before
//     the first of these it is in the journal, retention.retiring, by which a
//     successor finds it, wherever it is on its way.
//   - A table is taken away only if a policy says so in that very transaction,
//     and if it is the table, by OID, whose retirement was begun.
//   - Nothing waits longer for a lock than lock_timeout, which is less than
//     deadlock_timeout: an application never loses to this worker.
//   - Rows of a table are read and written with the rights of its owner only.
package main
