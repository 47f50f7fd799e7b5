//go:build race

package postmaster_test

// defaultChecks is how many scripts are tried: few, since in the core there are no
// goroutines for the race detector to find fault with.
const defaultChecks = 100
