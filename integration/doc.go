// Package integration tests a host as a whole: real processes, real signals, a
// real server. It has no code but tests.
//
// The test binary is everything at once: the tests, the host they start, and
// the host's children (see TestMain). Under -race all of them are watched.
package integration
