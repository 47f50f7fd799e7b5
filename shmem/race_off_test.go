//go:build !race

package shmem_test

const underRace = false
