package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

const usage = `pgexthost runs PostgreSQL background workers, written in Go, outside the server.

Usage:
  pgexthost COMMAND [OPTION]...

Commands:
%s
Options:
  -V, --version   show the version and exit
  -?, --help      show this help and exit; after a COMMAND, that command's

To see it work, without setting up anything:
  pgexthost demo

To run the example worker_spi beside your own server:
  pgexthost init -D mydir --server "host=localhost dbname=postgres"
  pgexthost run -D mydir -c shared_preload_libraries=worker_spi
`

func printUsage(w io.Writer) {
	var list string
	for _, c := range commands() {
		list += fmt.Sprintf("  %-15s %s\n", c.name, c.summary)
	}
	fmt.Fprintf(w, usage, list)
}

// newFlags returns the flag set of a subcommand, which prints text and its
// options when asked for help.
func newFlags(name, synopsis, text string) *pflag.FlagSet {
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	flags.SortFlags = false
	flags.BoolP("help", "?", false, "show this help and exit")
	flags.SetOutput(io.Discard) // errors come back as errors
	flags.Usage = func() {
		fmt.Printf("Usage:\n  pgexthost %s %s\n\n%s\n\nOptions:\n%s", name, synopsis, text, flags.FlagUsages())
	}
	return flags
}

// parse reads the arguments of a subcommand that takes options only.
func parse(flags *pflag.FlagSet, args []string) error {
	rest, err := parseWithArguments(flags, args)
	if err == nil && len(rest) > 0 {
		return subcommandError(flags.Name(), "too many command-line arguments (first is \"%s\")", rest[0])
	}
	return err
}

// parseWithArguments reads the options of a subcommand, and returns its other
// arguments.
func parseWithArguments(flags *pflag.FlagSet, args []string) ([]string, error) {
	err := flags.Parse(args)
	if help, _ := flags.GetBool("help"); help || errors.Is(err, pflag.ErrHelp) { // it knows -h by itself
		flags.Usage()
		return nil, pflag.ErrHelp
	}
	if err != nil {
		return nil, subcommandError(flags.Name(), "%v", err)
	}
	return flags.Args(), nil
}

func usageError(format string, args ...any) error {
	return elog.New(elog.Error, elog.SyntaxError, format, args...).WithHint("Try \"pgexthost --help\" for more information.")
}

func subcommandError(name, format string, args ...any) error {
	return elog.New(elog.Error, elog.SyntaxError, format, args...).WithHint("Try \"pgexthost %s --help\" for more information.", name)
}

// dataDirFlag adds -D, which PGEXTHOST_DATA can stand in for.
func dataDirFlag(flags *pflag.FlagSet) *string {
	return flags.StringP("pgdata", "D", os.Getenv("PGEXTHOST_DATA"), "the host's data directory `DIR` (default: $PGEXTHOST_DATA)")
}

func requireDataDir(flags *pflag.FlagSet, dir string) error {
	if dir == "" {
		return elog.New(elog.Error, elog.SyntaxError, "no data directory specified").
			WithHint("Say -D DIR, or set the environment variable PGEXTHOST_DATA. Try \"pgexthost %s --help\" for more information.", flags.Name())
	}
	return nil
}
