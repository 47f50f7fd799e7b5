package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pgexthost/pgexthost/internal/scaffold"
	"github.com/pgexthost/pgexthost/internal/shellwords"
	"github.com/pgexthost/pgexthost/plugins"
)

// runPluginNew is "pgexthost plugin new".
func runPluginNew(ctx context.Context, args []string) error {
	flags := newFlags("plugin new", "NAME [--module PATH] [--replace DIR]",
		"Writes a Go module into the new directory NAME: a library with one worker, which\n"+
			"builds, passes its own test and runs under a host at once.")
	o := scaffold.Options{Taken: plugins.Libraries()}
	flags.StringVar(&o.Module, "module", "", "the module's `PATH` (default: example.com/NAME)")
	flags.StringVar(&o.Replace, "replace", "", "a checkout of pgexthost, `DIR`, to build against")
	if err := parseWithArguments(flags, args, 1); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return subcommandError(flags.Name(), "no name specified: what shall the library be called?")
	}
	o.Name = flags.Arg(0)
	incomplete, err := scaffold.Write(ctx, "", o)
	if err != nil {
		return err
	}
	steps := []string{"cd " + o.Name}
	if scaffold.InWorkspace(ctx, o.Name) {
		steps = append(steps, "go work use .")
	}
	if incomplete != nil {
		printReport(os.Stderr, incomplete)
		steps = append(steps, "go mod tidy")
	}
	self := callAgain(os.Args[0])
	steps = append(steps,
		"go build -o lib/"+o.Name+" .",
		"go test .",
		self+" plugin check lib/"+o.Name,
		self+" init -D dev",
		self+" run -D dev -c dynamic_library_path=\"$PWD/lib\" -c shared_preload_libraries="+o.Name,
	)
	fmt.Printf(`Created %s: a library with one worker, and its test.

Build it, test it against a server of its own, and run it beside yours, which
PG* variables say where to find, or --server of init:

    %s

`, o.Name, strings.Join(steps, "\n    "))
	return nil
}

// callAgain returns how a shell calls this program again, from any directory.
func callAgain(arg0 string) string {
	if strings.Contains(arg0, "/") {
		if abs, err := filepath.Abs(arg0); err == nil {
			arg0 = abs
		}
	}
	return shellwords.Quote(arg0)
}
