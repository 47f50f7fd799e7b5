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
//     at which PostgreSQL would log it.
//
// Deviations from PostgreSQL, all in favour of the operator: every problem of a
// start is reported rather than the first kind met; reports say where the text
// came from (CONTEXT) and propose a name for a misspelt one (HINT); a syntax
// error on a last line without newline has the right line number; a file that
// include_if_exists finds but can't read is an error and not called missing; a
// postmaster setting whose file value is overridden by the command line isn't
// said to need a restart at each reload.
package guc
