package main

import (
	"context"

	"github.com/pgexthost/pgexthost/host"
)

// runRun is "pgexthost run".
func runRun(ctx context.Context, args []string) error {
	flags := newFlags("run", "-D DIR [-c NAME=VALUE]...",
		"Runs the host in the foreground, logging on standard error. It stops on SIGINT\n"+
			"(Ctrl-C: fast, workers are terminated), SIGTERM (smart) and SIGQUIT (immediate).")
	dir := dataDirFlag(flags)
	settings := flags.StringArrayP("set", "c", nil, "a setting, `NAME=VALUE`, that outranks the configuration file")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := requireDataDir(flags, *dir); err != nil {
		return err
	}
	if code := host.Run(ctx, host.Options{DataDir: *dir, Settings: *settings}); code != 0 {
		return exitStatus(code)
	}
	return nil
}
