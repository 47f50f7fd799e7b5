//go:build race

package shmem_test

// underRace says that the race detector slows everything down. It has nothing
// to find in the model of the slots, which is one goroutine's.
const underRace = true
