package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// The exit codes of status, which the Linux Standard Base gives to init scripts.
const (
	statusNotRunning = 3
	statusUnknown    = 4
)

// runStatus is "pgexthost status".
func runStatus(_ context.Context, args []string) error {
	c := newControl("status", "[-D DIR]",
		"Says whether a host runs in a data directory, and with which options it was\n"+
			"started. The exit code is 0 if it runs, 3 if it does not, and 4 if there is no\n"+
			"such directory or it is none of a host's.")
	if err := c.parse(args); err != nil {
		return withStatus(err, statusUnknown)
	}
	contents, err := lockfile.Read(c.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return inWords(err)
	}
	if err == nil {
		var p *lockfile.Process
		if p, err = contents.Holder(); err == nil {
			p.Close()
			c.describe(contents)
			return nil
		}
		if !errors.Is(err, lockfile.ErrGone) {
			return inWords(err)
		}
	}
	fmt.Println("pgexthost: no server running") // an answer, not an error
	return exitStatus(statusNotRunning)
}

// describe says how the host that runs was started. While it is still starting,
// the options are those of the host before it.
func (c *controller) describe(lock lockfile.Contents) {
	fmt.Printf("pgexthost: server is running (PID: %d)\n", lock.Pid)
	if lock.Status == lockfile.Starting {
		return
	}
	if opts, err := lockfile.ReadOpts(c.dir); err == nil {
		fmt.Println(opts)
	}
}
