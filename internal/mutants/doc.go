// Command mutants breaks the product on purpose, one rule at a time, and sees
// that a test notices. The breaks are in breaks/, a file for each chapter of the
// host's rules (registration, slots, launch pass, …), and each looks like this:
//
//	## a worker that returned nil is unregistered
//	in host/postmaster/exit.go
//	test ./host/postmaster -run Exit
//	-	if code == 0 {
//	+	if code == 0 && false {
//
// The lines with a minus must stand in the file exactly once, one after the
// other; those with a plus take their place. What follows test are arguments of
// go test. The tree is never touched: go test gets the broken file as an overlay.
//
// A break that survives says that a rule is kept by nobody's test. One that does
// not apply any more, or does not compile, is stale and has to be written anew.
//
//	go run ./internal/mutants [-v] [REGEXP]
//
// runs those whose title or file matches. It exits 1 if any survived or is stale.
package main
