package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// pluginCommand is one subcommand of "pgexthost plugin".
type pluginCommand struct {
	name     string
	synopsis string
	summary  string
	run      func(ctx context.Context, args []string) error
}

// pluginCommands are the subcommands of "pgexthost plugin", in the order of a
// plugin's life.
func pluginCommands() []pluginCommand {
	return []pluginCommand{
		{"new", "NAME [--module PATH] [--replace DIR]", "write a module to begin with, which builds and runs at once", runPluginNew},
		{"check", "FILE [-c NAME=VALUE]... [--json]", "say whether a host would load a file, and why not", runPluginCheck},
		{"list", "-D DIR [--json]", "say what the host has loaded, and what it could load", runPluginList},
		{"reload", "NAME -D DIR [-t SECS] [--json]", "have the workers of a library run from its present file", runPluginReload},
	}
}

// runPlugin is "pgexthost plugin".
func runPlugin(ctx context.Context, args []string) error {
	var names []string
	for _, c := range pluginCommands() {
		names = append(names, c.name)
	}
	if len(args) == 0 {
		return subcommandError("plugin", "no subcommand: one of %s?", strings.Join(names, ", "))
	}
	switch args[0] {
	case "--help", "-?", "-h":
		printPluginUsage(os.Stdout)
		return pflag.ErrHelp
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	for _, c := range pluginCommands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:])
		}
	}
	return subcommandError("plugin", "unrecognized subcommand \"%s\" of plugin", args[0])
}

func printPluginUsage(w io.Writer) {
	fmt.Fprint(w, "Usage:\n  pgexthost plugin COMMAND [OPTION]...\n\n"+
		"A plugin is a library: a Go program whose main function calls plugins.Main, or a\npart of the host itself. Each command has a --help of its own.\n\n")
	for _, c := range pluginCommands() {
		fmt.Fprintf(w, "  %-40s %s\n", c.name+" "+c.synopsis, c.summary)
	}
}
