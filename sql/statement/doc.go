// Package statement turns commands of a client that concern the host into SQL that
// the client's own session runs: CREATE, ALTER and DROP EXTENSION of what the host
// has, LOAD of its libraries, SET, RESET and ALTER SYSTEM of its settings. It owns
// the wording of these commands and nothing else: the gateway scans, sends and
// relays.
//
//	client ──CREATE EXTENSION x──► scanner ──Command──► Translate ──► DO $…$ … $…$
//	                                                                       │
//	client ◄──CREATE EXTENSION─── gateway ◄──INFO PX002, DO, or an error── server
//
// One command becomes one statement, so it can stand in a simple query, in a Parse
// message and in a transaction block, with which it is rolled back. It runs with the
// client's role and rights.
//
// What such a block can only know when it runs (what is installed, who owns it, who
// asks) it looks up; what only the host knows (scripts, versions, settings) is
// written into it. The blocks are the files of directory block: SQL to be read, with
// @names@ for what [Translate] puts there.
//
// # What the gateway does with the messages
//
//   - INFO with SQLSTATE PX002: the command tag to put in the place of "DO". See
//     [Tag].
//   - An error or notice with CONSTRAINT "pgexthost:" and the session's nonce: what
//     tells of the block is taken out, and what PostgreSQL would say put in. See
//     [Polish].
//
// # Invariants
//
//   - Nothing in a block is looked up by the client's search_path, but the schema to
//     create in, and what a server does by itself with CREATE EXTENSION of its own.
//   - Nothing of a schema pgexthost is used that belongs to a role without the
//     rights of the one that asks: its triggers and policies would get those.
//   - Whatever a client says is quoted in a way that does not depend on its settings,
//     in the encoding in which it came. What the host puts in is ASCII, unless the
//     client's encoding is UTF8.
//   - The settings of the transaction are afterwards as they were.
package statement
