package main

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// runStop is "pgexthost stop".
func runStop(ctx context.Context, args []string) error {
	c := newControl("stop", "[-D DIR] [-m MODE] [-w|-W] [-t SECS] [-s]", "Stops a running host.\n\n"+shutdownModesHelp)
	mode := c.addMode()
	c.addWait()
	c.addSilent()
	if err := c.parse(args); err != nil {
		return err
	}
	shutdown, err := c.parseMode(*mode)
	if err != nil {
		return err
	}
	p, err := c.holder("stop")
	if err != nil {
		return err
	}
	defer p.Close()
	if err := sendSignal(p, shutdown.signal, "stop"); err != nil {
		return err
	}
	if !c.wait {
		c.say("server shutting down\n")
		return nil
	}
	return c.awaitStop(ctx, p, shutdown)
}

// shutdownMode is a way to stop a host.
type shutdownMode struct {
	name   string
	signal unix.Signal
}

const smart = "smart"

var shutdownModes = []shutdownMode{{smart, unix.SIGTERM}, {"fast", unix.SIGINT}, {"immediate", unix.SIGQUIT}}

const shutdownModesHelp = `Shutdown modes are:
  smart       wait until the gateway's clients have left, then as fast
  fast        stop the workers, each in good order, and wait for them (default)
  immediate   end the workers without letting them clean up`

func (c *controller) addMode() *string {
	return c.flags.StringP("mode", "m", "fast", "`MODE` can be \"smart\", \"fast\", or \"immediate\"")
}

// parseMode finds a mode by its name or first letter.
func (c *controller) parseMode(text string) (shutdownMode, error) {
	for _, m := range shutdownModes {
		if text == m.name || text == m.name[:1] {
			return m, nil
		}
	}
	return shutdownMode{}, subcommandError(c.flags.Name(), "unrecognized shutdown mode \"%s\"", text)
}

// awaitStop waits for the end of a host that has been told to stop. Unlike
// pg_ctl it watches the process and not its lock file: when it returns nil, the
// directory is free.
func (c *controller) awaitStop(ctx context.Context, p *lockfile.Process, mode shutdownMode) error {
	c.say("waiting for server to shut down...")
	ended := make(chan error, 1)
	go func() { ended <- p.Wait(ctx) }()
	err, inTime := awaitEvent(c, ended)
	switch {
	case !inTime:
		c.say(" failed\n")
		return failure("server does not shut down%s", hintFor(mode))
	case err != nil:
		c.say(" failed\n")
		return failure("could not wait for server (PID: %d): %v", p.Pid, err)
	case c.isRemnantOf(p.Pid):
		c.say(" failed\n")
		return failure("server process (PID: %d) died before it had shut down", p.Pid)
	}
	c.say(" done\nserver stopped\n")
	return nil
}

func hintFor(mode shutdownMode) string {
	if mode.name != smart {
		return ""
	}
	return "\nHINT: The \"-m fast\" option immediately disconnects sessions rather than\nwaiting for session-initiated disconnection."
}

// isRemnantOf reports whether a host that has ended left its lock file behind,
// as one does that was killed.
func (c *controller) isRemnantOf(pid int) bool {
	contents, err := lockfile.Read(c.dir)
	return err == nil && contents.Pid == pid
}
