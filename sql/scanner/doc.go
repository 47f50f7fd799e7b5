// Package scanner finds, in the SQL text of a client, the little that concerns the
// host: a handful of utility statements ([Command]), and names that the host has
// its own relations and functions for ([Reference]). All else is the server's.
//
//	text ─► MayConcern ─► no: relayed as it is (nearly always)
//	            │
//	           Scan ─► statements ─► Command: the host's to do
//	                       └───────► References ─► Edits ─► Rewrite ─► text for the server
//	                                                           └─► Positions ◄─ its errors
//
// It is pure: texts in, values out, no state and no I/O, nothing but the standard
// library.
//
// # How
//
// A lexer after scan.l tells the tokens apart (lexer.go, quoted.go; value.go knows
// what they stand for), split.go finds the ends of statements, grammar.go the
// Commands, by the productions of gram.y. References need no grammar, but the clause
// that a name stands in (query.go): behind FROM, JOIN, TABLE and the commas between
// them a name is a relation, elsewhere it is a column, a label, an alias.
//
// # Invariants
//
//   - Whatever text the server takes is split here as it is there. What the server
//     refuses, it refuses as a whole, so that it does not matter how it is split.
//   - A Command is a whole statement that the server's grammar takes.
//   - In doubt a name is no Reference: the server then does what it would without us.
//   - A redirected statement has the columns, and their names, of the one before.
//   - The work grows with the length of the text, and with nothing else.
//
// # What a Reference is
//
// Relations where a query reads them, functions where they are called, without a
// schema or with pg_catalog, unquoted: quotes are how a client gets the server's own.
// Only in statements that are done when they are done (queries, INSERT, UPDATE,
// DELETE, MERGE, EXPLAIN, PREPARE, EXECUTE, DECLARE, COPY TO, CALL, CREATE TABLE AS);
// a view, a function or a policy would keep the name. The targets of writes are none.
//
// Columns (pg_stat_activity.pid), whole rows and FOR UPDATE OF need no redirection: a
// relation of another schema, redirected to without an alias, goes by the same name.
// Only what is qualified by pg_catalog, too, is redirected along with it.
//
// # What cannot be told
//
//   - A temporary relation of one of the names, or a schema before pg_catalog in
//     search_path: they would be meant, and the host's is. Quotes help.
//   - Types of the names: null::pg_stat_activity is the server's row type, and one
//     with arguments in a list of columns, as in f() AS t(a pg_cancel_backend(1)), is
//     taken for a call.
//   - Names in texts: 'pg_stat_activity'::regclass, bodies of functions and of DO,
//     EXECUTE in them, query_to_xml.
//   - Quoted and unquoted together: with FROM pg_stat_activity a, "pg_stat_activity",
//     pg_catalog.pg_stat_activity.pid is the first one's, which has an alias.
package scanner
