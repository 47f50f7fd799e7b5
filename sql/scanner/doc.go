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
// It is pure: texts in, values out, no state and no I/O.
package scanner
