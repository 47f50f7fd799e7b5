package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// runRestart is "pgexthost restart".
func runRestart(ctx context.Context, args []string) error {
	c := newControl("restart", "[-D DIR] [-m MODE] [-l FILENAME] [-w|-W] [-t SECS] [-s] [-o OPTIONS]",
		"Stops a host, if it runs, and starts it again: the same program with the same\n"+
			"options as last time, unless -o gives others. It always waits for the stop. Where\n"+
			"the log went is not known any more: say -l again.\n\n"+shutdownModesHelp)
	mode := c.addMode()
	start := c.addStart()
	c.addWait()
	c.addSilent()
	if err := c.parse(args); err != nil {
		return err
	}
	if err := host.Supported(); err != nil {
		return err
	}
	shutdown, err := c.parseMode(*mode)
	if err != nil {
		return err
	}
	old, err := c.findOld()
	if err != nil {
		return err
	}
	if old != nil {
		defer old.Close()
	}
	// Whatever can go wrong shall do so while the host still runs.
	if err := host.CheckDataDir(c.dir); err != nil {
		return inWords(err)
	}
	command, err := c.lastCommand(start, old)
	if err != nil {
		return err
	}
	if err := start.openLog(); err != nil {
		return err
	}
	defer start.closeLog()
	if old != nil {
		if err := sendSignal(old, shutdown.signal, "stop"); err != nil {
			return err
		}
		if err := c.awaitStop(ctx, old, shutdown); err != nil {
			return err
		}
	}
	return c.launch(command, start.log)
}

// findOld returns the host that runs now. There need not be one: then it says
// so, and returns nil.
func (c *controller) findOld() (*lockfile.Process, error) {
	contents, err := lockfile.Read(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		warn("%s\ntrying to start server anyway", c.notThere())
		return nil, nil
	}
	if errors.Is(err, lockfile.ErrEmpty) {
		warn("%s\ntrying to start server anyway", elog.AsErrorData(err, elog.Error).Message)
		return nil, nil
	}
	if err != nil {
		return nil, inWords(err)
	}
	p, err := contents.Holder()
	if errors.Is(err, lockfile.ErrCopied) {
		warn("%s\nstarting server anyway", c.isCopy(contents))
		return nil, nil
	}
	if errors.Is(err, lockfile.ErrGone) {
		warn("old server process (PID: %d) seems to be gone\nstarting server anyway", contents.Pid)
		return nil, nil
	}
	return p, inWords(err)
}

// lastCommand is how the host was started last time, with the options of -o in
// place of its own. The program needn't be this one: authors build hosts of
// their own.
func (c *controller) lastCommand(start *startFlags, old *lockfile.Process) (hostCommand, error) {
	opts, err := lockfile.ReadOpts(c.dir)
	if errors.Is(err, fs.ErrNotExist) && start.options != nil {
		words, err := start.words()
		if err != nil {
			return hostCommand{}, err
		}
		return c.runCommand(words)
	}
	if err != nil {
		return hostCommand{}, inWords(err)
	}
	command := hostCommand{program: opts.Program, args: opts.Args, workDir: c.oldWorkDir(old, opts.Args)}
	if start.options != nil {
		command.args, err = c.otherArguments(start, opts.Args)
	} else {
		command.args, err = c.runHere(command)
	}
	if err != nil {
		return hostCommand{}, err
	}
	return command, command.check()
}

// runHere returns the arguments of a host as they are, if they lead to the data
// directory. Those of "pgexthost run" may lead elsewhere: the directory was
// moved or copied since, or the environment of then said where it is. A
// restart here must not start a host there.
func (c *controller) runHere(command hostCommand) ([]string, error) {
	if !isRun(command.args) {
		return command.args, nil
	}
	flags, options := newRunFlags()
	if err := flags.Parse(command.args[1:]); err != nil {
		return nil, err // isRun has seen that there is none
	}
	dir := options.dir
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(command.workDir, dir)
	}
	if flags.Changed("pgdata") && isSameFile(dir, c.dir) {
		return command.args, nil
	}
	var words []string
	for _, setting := range options.settings {
		words = append(words, "-c", setting)
	}
	here, err := c.runCommand(words)
	return here.args, err
}

// otherArguments are the options of -o, as arguments of the program that had
// others last time. They are options of "pgexthost run" if those were; of
// another program they are all there is, since nothing is known about it.
func (c *controller) otherArguments(start *startFlags, last []string) ([]string, error) {
	if !isRun(last) {
		return start.split()
	}
	words, err := start.words()
	if err != nil {
		return nil, err
	}
	command, err := c.runCommand(words)
	return command.args, err
}

// oldWorkDir is the directory that relative paths in the host's arguments are
// relative to: where it runs, or else where we are, if one of them leads to the
// data directory from here, or else the data directory, where "start" puts it.
func (c *controller) oldWorkDir(old *lockfile.Process, args []string) string {
	if old != nil {
		dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", old.Pid))
		// If the host still lives after that, the link was its own.
		if err == nil && old.Signal(0) == nil && isDir(dir) {
			return dir
		}
	}
	leadsHere := func(arg string) bool { return !filepath.IsAbs(arg) && isSameFile(arg, c.dir) }
	if here, err := os.Getwd(); err == nil && slices.ContainsFunc(args, leadsHere) {
		return here
	}
	if abs, err := filepath.Abs(c.dir); err == nil {
		return abs
	}
	return c.dir
}

func isSameFile(a, b string) bool {
	stA, errA := os.Stat(a)
	stB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(stA, stB)
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// check refuses a program that is not there any more, or can't be run.
func (h hostCommand) check() error {
	path := h.program
	if !filepath.IsAbs(path) {
		path = filepath.Join(h.workDir, path)
	}
	err := unix.Access(path, unix.X_OK)
	if err == nil && isDir(path) {
		err = unix.EISDIR
	}
	if err != nil {
		return failure("could not execute \"%s\", which the server was started with: %s", h.program, elog.OSReason(err))
	}
	return nil
}
