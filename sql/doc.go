// Package sql is how SQL reaches the host.
//
// It owns the scripts of schema pgexthost and of the plugins' own functions, and
// what "pgexthost extension" does with them ([Catalog]). The subpackage launcher is
// the auxiliary process that runs what these functions ask for; the subpackage call
// answers those that wait for the host within their transaction.
//
//	any connection                                     host
//	──────────────                                     ────
//	SELECT pgexthost.launch(…) ─► row of request ─┐
//	INSERT INTO pgexthost.worker ─► row ──────────┼─► request launcher ─► slots
//	SELECT pgexthost.terminate(…) ─► row ─────────┘         │
//	pgexthost.workers, slots, requests ◄── rows ◄───────────┘
//
// # Scripts
//
// The files have the names that PostgreSQL gives those of extensions, and are found
// by PostgreSQL 18's rules for extension_control_path ([OpenCatalog]): NAME.control
// describes an extension, NAME--VERSION.sql installs it, NAME--FROM--TO.sql
// upgrades it. NAME--drop.sql drops it, since the server does not know what is its.
// @extschema@ and its like stand for what they stand for there. They are not
// extensions of the server, since nobody puts files on a managed one: what is
// installed is recorded in pgexthost.extension, and pg_dump dumps it like all the
// rest.
//
// # Invariants
//
//   - Each installation, upgrade and drop is one transaction, and only one runs in
//     a database at a time.
//   - Scripts need no more rights than the database's owner has.
//   - PUBLIC may do nothing but what PostgreSQL lets everybody do, with the views and
//     functions that stand for the server's own. Functions with the owner's rights have a fixed
//     search_path, and so have our scripts while they run; those of plugins have
//     PostgreSQL's, which begins with their schema.
//   - Schema pgexthost is the program's own, wherever else there are files of that
//     name.
//   - A script that was released never changes.
//   - Nothing is dropped on which something depends that is not ours.
package sql
