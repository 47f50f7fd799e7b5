// Package container tests the container image and what docker-compose.yml runs
// in it. It has no code but tests, and client.sql, the client of that file.
//
// No container engine is needed. The tests do what the Dockerfile says, line by
// line, which leaves them the root file system and the configuration of the image
// (dockerfile_test.go); and run that as an engine would: as the first process of
// a PID namespace, on a read-only root, as a user without privileges
// (engine_test.go). An instruction that they do not know is an error, so that the
// image and what is tested cannot part.
//
// What an engine adds, they do not test: how it stores layers, networks, and
// resource limits.
package container
