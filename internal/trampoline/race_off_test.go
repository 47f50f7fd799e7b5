//go:build !race

package trampoline_test

// raceDetector says that this program has the race detector in it.
const raceDetector = false
