package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/pflag"

	"github.com/pgexthost/pgexthost/host"
)

// runRun is "pgexthost run".
func runRun(ctx context.Context, args []string) error {
	flags, options := newRunFlags()
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := requireDataDir(flags, options.dir); err != nil {
		return err
	}
	if options.init {
		if err := initIfNew(options.dir); err != nil {
			return err
		}
	}
	if code := host.Run(ctx, host.Options{DataDir: options.dir, Settings: options.settings}); code != 0 {
		return exitStatus(code)
	}
	return nil
}

// runOptions are the options of "pgexthost run", which "start -o" knows, too.
type runOptions struct {
	dir      string
	settings []string
	init     bool
}

func newRunFlags() (*pflag.FlagSet, *runOptions) {
	flags := newFlags("run", "-D DIR [--init] [-c NAME=VALUE]...",
		"Runs the host in the foreground, logging on standard error. It stops on SIGINT\n"+
			"(Ctrl-C: fast, workers are terminated), SIGTERM (smart) and SIGQUIT (immediate),\n"+
			"and reads its configuration again on SIGHUP. All users of the machine can read its\n"+
			"command line: passwords belong into the password file.")
	var o runOptions
	dataDirFlag(flags, &o.dir)
	flags.StringArrayVarP(&o.settings, "set", "c", nil, "a setting, `NAME=VALUE`, that outranks the configuration file")
	flags.BoolVar(&o.init, "init", false, "make the data directory first, as \"pgexthost init\" does without options, if there\nis none yet or if it is empty")
	return flags, &o
}

// initIfNew makes the data directory unless there is something in it, which is
// for the host to judge. It is for containers without a shell: what the server is
// called there is told by PG* variables or by -c, at each start anew, and so is no
// part of what is made once.
func initIfNew(dir string) error {
	entries, err := os.ReadDir(dir)
	if len(entries) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil //nolint:nilerr // the host says what is wrong with the directory
	}
	return host.Init(dir, "")
}
