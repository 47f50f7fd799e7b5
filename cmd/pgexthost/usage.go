package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

const usage = `pgexthost runs PostgreSQL background workers, written in Go, outside the server.

Usage:
  pgexthost COMMAND [OPTION]...

%sOptions:
  -V, --version   show the version and exit
  -?, --help      show this help and exit; after a COMMAND, that command's

To see it work, without setting up anything:
  pgexthost demo

To run the example worker_spi beside your own server:
  pgexthost init -D mydir --server "host=localhost dbname=postgres"
  pgexthost run -D mydir -c shared_preload_libraries=worker_spi

To connect to the server through it, with its libraries' SQL at hand (see
docs/GATEWAY.md):
  psql -h $PWD/mydir -p 5433

To begin a library of your own (see docs/AUTHORS.md):
  pgexthost plugin new mine

start, stop, restart, reload, status and kill work as those of pg_ctl do.
`

func printUsage(w io.Writer) {
	var list strings.Builder
	for _, g := range commandGroups() {
		fmt.Fprintf(&list, "%s:\n", g.title)
		for _, c := range g.commands {
			fmt.Fprintf(&list, "  %-15s %s\n", c.name, c.summary)
		}
		list.WriteByte('\n')
	}
	fmt.Fprintf(w, usage, list.String())
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
	return parseWithArguments(flags, args, 0)
}

// parseWithArguments is parse for a subcommand that takes up to limit arguments
// beside its options.
func parseWithArguments(flags *pflag.FlagSet, args []string, limit int) error {
	err := flags.Parse(args)
	if help, _ := flags.GetBool("help"); help || errors.Is(err, pflag.ErrHelp) { // it knows -h by itself
		flags.Usage()
		return pflag.ErrHelp
	}
	if value, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return subcommandError(flags.Name(), "invalid argument \"%s\" of --%s: %s", value.GetValue(), value.GetFlag().Name, badValue(value))
	}
	if err != nil {
		return subcommandError(flags.Name(), "%v", err)
	}
	if flags.NArg() > limit {
		return subcommandError(flags.Name(), "too many command-line arguments (first is \"%s\")", flags.Arg(limit))
	}
	return nil
}

// badValue says what is wrong with the value of an option, without the names of
// Go's functions.
func badValue(err error) string {
	number, ok := errors.AsType[*strconv.NumError](err)
	switch {
	case !ok:
		return errors.Unwrap(err).Error()
	case number.Func == "ParseBool":
		return "not true or false"
	case errors.Is(number, strconv.ErrRange):
		return "out of range"
	case number.Func == "ParseUint":
		return "not a number of 0 or more"
	}
	return "not a number"
}

func usageError(format string, args ...any) error {
	return elog.New(elog.Error, elog.SyntaxError, format, args...).WithHint("Try \"pgexthost --help\" for more information.")
}

func subcommandError(name, format string, args ...any) error {
	return elog.New(elog.Error, elog.SyntaxError, format, args...).WithHint("Try \"pgexthost %s --help\" for more information.", name)
}

// dataDirFlag adds -D, which PGEXTHOST_DATA can stand in for.
func dataDirFlag(flags *pflag.FlagSet, dir *string) {
	flags.StringVarP(dir, "pgdata", "D", os.Getenv("PGEXTHOST_DATA"), "the host's data directory `DIR` (default: $PGEXTHOST_DATA)")
	flags.Lookup("pgdata").DefValue = "" // the text says it already
}

func requireDataDir(flags *pflag.FlagSet, dir string) error {
	if dir == "" {
		return elog.New(elog.Error, elog.SyntaxError, "no data directory specified").
			WithHint("Say -D DIR, or set the environment variable PGEXTHOST_DATA. Try \"pgexthost %s --help\" for more information.", flags.Name())
	}
	return nil
}
