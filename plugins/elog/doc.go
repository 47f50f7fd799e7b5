// Package elog reports errors and log records the way PostgreSQL does: a
// level, a SQLSTATE, a primary message, and an optional DETAIL and HINT.
//
// It owns these things and nothing else:
//
//   - [Level], PostgreSQL's severities with the two orders they have (the order
//     of importance and the peculiar one of log_min_messages, in which LOG
//     stands between ERROR and FATAL);
//   - [ErrorData], the error type of the whole project, which is PostgreSQL's
//     struct of that name as a Go error;
//   - [Logger], which writes records as PostgreSQL's log destinations stderr and
//     jsonlog write them, and [NewHandler], which leads package slog there.
//
// Invariants:
//
//   - One record is one Write call in each form, so that processes that share a
//     descriptor never interleave inside a record (as long as it fits PIPE_BUF
//     on a pipe).
//   - A record in the form of jsonlog is one line of valid JSON, whatever bytes
//     it was made of.
//   - A level that is disabled costs no allocation, except for what the
//     compiler needs to pass the arguments of Logf.
//   - A record never fails: what can't be written is dropped, because a
//     process that can't log must still do its work. The next record that can
//     be written comes after one that says how many were dropped, on a line of
//     its own.
package elog
