//go:build race

package trampoline_test

// raceDetector says that this program has the race detector in it, which takes
// more memory for itself than a limit leaves to the trampoline.
const raceDetector = true
