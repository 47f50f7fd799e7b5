//go:build linux && race

package integration

// raceDetector says that this program has the race detector in it, whose hosts
// need new memory all the time.
const raceDetector = true
