// Package launcher is a library with a launcher that keeps one worker per
// database alive, as databases come and go. What the workers do is the part to
// replace: here they analyze the tables that autovacuum leaves out, which are
// partitioned tables, and tables that nothing has changed since they were
// restored.
//
//	            pg_database, settings      slots of the host
//	                     │                        │
//	analyzer launcher:   └──────► plan ◄──────────┘   every analyzer.naptime
//	                         ┌─────┴─────┐
//	                 register│           │terminate
//	                         ▼           ▼
//	analyzer of app:   connect by OID ──► which tables? ──► ANALYZE each ──► wait ─┐
//	                                      ▲                                        │
//	                                      └────────────────────────────────────────┘
//
// # Invariants
//
//   - Level-triggered: each round compares the databases that there are with the
//     workers that there are, and remembers nothing of rounds before. So a new
//     launcher goes on where one that was killed has left off.
//   - No database has two workers: one is registered only when none is, not even
//     one that is about to end.
//   - A worker is found by what it was registered with, the OID of its database,
//     which a renaming leaves as it is. Its name is for people; after a renaming
//     the worker is replaced.
//   - Nobody who wants the database for himself waits for a worker: they are
//     Interruptible. The launcher is not, or it would not come back; it is in the
//     maintenance database.
//
// # The files
//
//   - library.go: the library, its settings and its launcher (_PG_init);
//   - launcher.go: the launcher's main function;
//   - plan.go: which workers to start and to stop, without any I/O;
//   - databases.go: which databases are to have one;
//   - analyze.go: the main function of a worker: what to replace.
package launcher
