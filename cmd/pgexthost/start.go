package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// runStart is "pgexthost start".
func runStart(_ context.Context, args []string) error {
	c := newControl("start", "[-D DIR] [-l FILENAME] [-w|-W] [-t SECS] [-s] [-o OPTIONS]",
		"Starts a host in the background. It runs \"pgexthost run\", in the data directory\n"+
			"and in a session of its own, so that it lives on when the terminal is closed.")
	start := c.addStart()
	c.addWait()
	c.addSilent()
	if err := c.parse(args); err != nil {
		return err
	}
	if err := host.Supported(); err != nil {
		return err
	}
	words, err := start.words()
	if err != nil {
		return err
	}
	command, err := c.runCommand(words)
	if err != nil {
		return err
	}
	if err := start.openLog(); err != nil {
		return err
	}
	defer start.closeLog()
	switch _, err := lockfile.Read(c.dir); {
	case err == nil, errors.Is(err, lockfile.ErrEmpty): // of a host that was killed before it could fill it
		warn("another server might be running; trying to start server anyway")
	case !errors.Is(err, fs.ErrNotExist):
		return inWords(err)
	}
	return c.launch(command, start.log)
}

// startFlags are the options of start and restart.
type startFlags struct {
	logName string
	options []string

	log *os.File // nil: the host writes where we do
}

func (c *controller) addStart() *startFlags {
	var s startFlags
	c.flags.StringVarP(&s.logName, "log", "l", "", "append the host's log to the file `FILENAME`\n(default: write it where this command writes)")
	c.flags.StringArrayVarP(&s.options, "options", "o", nil, "`OPTIONS` of \"pgexthost run\", quoted as for a shell,\nfor instance -o \"-c log_min_messages=debug1\"")
	return &s
}

// openLog opens the log file here, where its name is relative to.
func (s *startFlags) openLog() error {
	if s.logName == "" {
		return nil
	}
	log, err := os.OpenFile(s.logName, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return failure("could not open log file \"%s\": %s", s.logName, elog.OSReason(err))
	}
	s.log = log
	return nil
}

func (s *startFlags) closeLog() { _ = s.log.Close() } // of nil, too

// runCommand is the command line of a host in the data directory that this
// program runs, in its foreground.
func (c *controller) runCommand(words []string) (hostCommand, error) {
	program, err := lockfile.OwnProgram()
	if err != nil {
		return hostCommand{}, failure("could not find own program executable: %v", err)
	}
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		return hostCommand{}, failure("could not determine the absolute path of directory \"%s\": %v", c.dir, err)
	}
	return hostCommand{program: program, args: append([]string{"run", "-D", dir}, words...), workDir: dir}, nil
}
