//go:build !race

package postmaster_test

// defaultChecks is how many scripts are tried.
const defaultChecks = 2000
