// Package library finds libraries by name, as dfmgr.c does, and tells without
// running a file whether it is one: a Go program whose main function calls
// plugins.Main.
//
// It is for the host. A child never looks for a library: the host tells it
// what it has found.
package library
