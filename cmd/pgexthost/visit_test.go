package main

import (
	"os"
	"testing"
)

// The host's control server lets root in, whoever owns the directory.
func TestRootMayLookIntoTheHostOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only for root")
	}
	d := lister(t)
	if err := os.Chown(d.path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	d.control(t, "ps").want(t, 0, "worker_spi worker 1", "")
	d.control(t, "why", "worker_spi worker 1").want(t, 3, "waits for the server", "")
	pgexthost(t, "config", "show", "-D", d.path, "max_worker_processes").want(t, 0, "max_worker_processes = 4\n", "")
	d.control(t, "run").want(t, 1, "", "has wrong ownership") // look, but do not touch
}
