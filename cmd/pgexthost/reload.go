package main

import (
	"context"

	"golang.org/x/sys/unix"
)

// runReload is "pgexthost reload".
func runReload(_ context.Context, args []string) error {
	c := newControl("reload", "[-D DIR] [-s]", "Makes a running host and its workers read the configuration file again.")
	c.addSilent()
	if err := c.parse(args); err != nil {
		return err
	}
	p, err := c.holder("reload")
	if err != nil {
		return err
	}
	defer p.Close()
	if err := sendSignal(p, unix.SIGHUP, "reload"); err != nil {
		return err
	}
	c.say("server signaled\n")
	return nil
}
