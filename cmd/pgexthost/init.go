package main

import (
	"context"
	"fmt"
	"os"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/shellwords"
)

// runInit is "pgexthost init".
func runInit(_ context.Context, args []string) error {
	flags := newFlags("init", "-D DIR [--server CONNINFO]",
		"Makes a data directory with a commented configuration file, "+host.ConfigFileName+".\nThe directory must not exist yet, or be empty.")
	var dir string
	dataDirFlag(flags, &dir)
	server := flags.String("server", "", "how to reach the server: a libpq `CONNINFO` or URI\n(default: PG* variables, as psql)")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := requireDataDir(flags, dir); err != nil {
		return err
	}
	if _, err := connect.ParseConninfo(*server); err != nil {
		return err // better now than in the host's log
	}
	if err := host.Init(dir, *server); err != nil {
		return err
	}
	inDir := shellwords.Quote("-D", dir)
	fmt.Printf("Created %s/%s.\n\nYou can now run the host in the foreground or start it in the background with:\n\n    %s run %s\n    %s start %s -l logfile\n\n",
		dir, host.ConfigFileName, os.Args[0], inDir, os.Args[0], inDir)
	return nil
}
