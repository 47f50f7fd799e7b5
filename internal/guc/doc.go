// Package guc is the settings machinery ("grand unified configuration") that
// the host and every plugin share: what a setting is, how its text is read, how
// configuration files are read, and which value is in force in a process.
//
// It owns:
//
//   - [Definition], one setting described in data that can cross a process
//     boundary, and [Parse], which turns text into a [Value] of it;
//   - [ParseFile] and [ParseOption], which turn postgresql.conf syntax and
//     "-c name=value" into [Item]s;
//   - [Store], the settings of one process.
//
// The life of a setting:
//
//	pgexthost.conf ──ParseFile──┐             name is defined
//	                            ├──► Item ───────────────────────► variable ──► Value
//	-c name=value ─ParseOption──┘     │                               ▲
//	                                  │ a.b, not defined yet          │ Define
//	                                  └─────────────► placeholder ────┘
//	                                                      │
//	                                                      └─ MarkPrefixReserved: removed
//
// The life of a store in the postmaster, and in each of its children, which
// start from what the postmaster runs with:
//
//	NewStore ─► ApplyStartup ─► Define… ─► EndStartup ─► ApplyReload (each SIGHUP)
//	                               │
//	                             Items
//	                               ▼
//	NewChildStore ───────────► Define… ─► EndStartup ─► ApplyReload (each SIGHUP)
//
// Invariants:
//
//   - A variable always holds a value that its definition accepts, its check
//     hook included: a refused text never displaces a value.
//   - A higher [Source] is never displaced by a lower one: the command line
//     beats the files.
//   - A variable of context [Postmaster] or [Internal] never changes its value
//     after [Store.EndStartup], except by [Store.Override].
//   - A definition and a file are input from strangers: nothing in them makes
//     this package panic. A wrong name given to a getter is a bug of the caller
//     and does.
//   - Nothing here logs. Every problem is returned as a report with the level
//     at which PostgreSQL would log it. A child is quiet about what the
//     postmaster reports, and not about what it alone can know: what the hooks of
//     a library refuse, and what is wrong with settings of libraries that it has
//     loaded by itself.
//   - A hook runs before the value is seen, so a hook that panics changes
//     nothing, and the lock is free again when the panic leaves the store.
//
// Hooks are where code of libraries runs. The postmaster has none of theirs: a
// definition that crosses a process boundary leaves its hooks behind.
//
//	text ──parse──► Value ──CheckHook──► AssignHook ──► readers see it ──ShowHook──► SHOW
//	          │                 │
//	          └──── refused ────┴──► report; the value in force stays
//
// Deviations from PostgreSQL; TestPostgresAgrees compares with a real server and
// accounts for those it can meet, one by one:
//
//   - Every problem is reported rather than the first kind met: PostgreSQL gives
//     up a directory at the first file that is wrong, doesn't read the file of
//     ALTER SYSTEM when the main one is wrong, and looks at names only if it can
//     read all files, at values when it starts only if it knows all names.
//   - Reports say where the text came from (CONTEXT), propose a name for a
//     misspelt one (HINT), and leave out secrets.
//   - A line that a later one replaces isn't looked at, even if the two spell the
//     name in different cases, or nobody has defined it yet.
//   - A syntax error on a last line without newline has the right line number. A
//     directory where a file is wanted is said to be one. A NUL byte ends a
//     quoted value, and takes nothing else with it.
//   - A file that include_if_exists finds but can't read is an error and not
//     called missing.
//   - Values must be UTF-8. Files have a greatest size, and a greatest number.
//   - A postmaster setting whose file value is overridden by the command line
//     isn't said to need a restart at each reload, nor is one that the files no
//     longer mention, if its value isn't from there.
//   - A placeholder that has gone from the files is gone, and doesn't stay empty.
//   - A check hook can't put another value in the place of the one it sees.
//   - A backend setting that a reload passes over in a child keeps the place it
//     was written at.
package guc
