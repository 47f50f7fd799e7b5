package main

import (
	"context"

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
	if code := host.Run(ctx, host.Options{DataDir: options.dir, Settings: options.settings}); code != 0 {
		return exitStatus(code)
	}
	return nil
}

// runOptions are the options of "pgexthost run", which "start -o" knows, too.
type runOptions struct {
	dir      string
	settings []string
}

func newRunFlags() (*pflag.FlagSet, *runOptions) {
	flags := newFlags("run", "-D DIR [-c NAME=VALUE]...",
		"Runs the host in the foreground, logging on standard error. It stops on SIGINT\n"+
			"(Ctrl-C: fast, workers are terminated), SIGTERM (smart) and SIGQUIT (immediate),\n"+
			"and reads its configuration again on SIGHUP. All users of the machine can read its\n"+
			"command line: passwords belong into the password file.")
	var o runOptions
	dataDirFlag(flags, &o.dir)
	flags.StringArrayVarP(&o.settings, "set", "c", nil, "a setting, `NAME=VALUE`, that outranks the configuration file")
	return flags, &o
}
