//go:build race

package integration

// underRace says that these tests were built with the race detector.
const underRace = true
