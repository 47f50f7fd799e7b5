// Command pgexthost is the extension host: it runs PostgreSQL background
// workers written in Go outside the server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pgexthost/pgexthost/connect/servermonitor"
	"github.com/pgexthost/pgexthost/host/metrics"
	"github.com/pgexthost/pgexthost/internal/version"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql/gateway"
	"github.com/pgexthost/pgexthost/sql/launcher"
	"github.com/pgexthost/pgexthost/workerspi"
)

func main() {
	plugins.Register(workerspi.Library())
	servermonitor.Register()
	launcher.Register()
	gateway.Register()
	metrics.Register()
	if plugins.IsChild() {
		plugins.RunChild()
	}
	err := run(context.Background(), os.Args[1:])
	complain(os.Stderr, err)
	os.Exit(exitCode(err))
}

// command is one subcommand.
type command struct {
	name    string
	summary string
	run     func(ctx context.Context, args []string) error
}

// commandGroup is a group of subcommands in the list that --help shows.
type commandGroup struct {
	title    string
	commands []command
}

func commandGroups() []commandGroup {
	return []commandGroup{
		{"Begin", []command{
			{"init", "make a data directory", runInit},
			{"demo", "see worker_spi work, end to end", runDemo},
		}},
		{"Run a host", []command{
			{"run", "run the host in the foreground", runRun},
			{"start", "start the host in the background", runStart},
			{"stop", "stop the host", runStop},
			{"restart", "stop the host and start it again, with the same options", runRestart},
			{"reload", "make the host read its configuration file again", runReload},
			{"status", "say whether the host runs", runStatus},
			{"kill", "send a signal to a process", runKill},
		}},
		{"Look into one", []command{
			{"config", "check or show the settings", runConfig},
			{"ps", "list the workers", runPs},
			{"why", "say why a worker does not run", runWhy},
			{"launch", "start a dynamic worker", runLaunch},
			{"terminate", "end a worker for good", runTerminate},
		}},
		{"Plugins", []command{
			{"plugin", "deal with libraries: executables that a host runs", runPlugin},
		}},
		{"Let SQL reach one", []command{
			{"extension", "install SQL functions into a database", runExtension},
		}},
	}
}

func commands() []command {
	var all []command
	for _, g := range commandGroups() {
		all = append(all, g.commands...)
	}
	return all
}

// run is the whole program, save for the exit code.
func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		printUsage(os.Stderr)
		return exitStatus(1)
	}
	if args[0] == "help" && len(args) > 1 {
		args = append(args[1:], "--help")
	}
	switch args[0] {
	case "--help", "-?", "-h", "help":
		printUsage(os.Stdout)
		return nil
	case "--version", "-V", "version":
		fmt.Printf("pgexthost %s (background workers of PostgreSQL %d)\n", version.Number, version.Personality)
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			err := c.run(ctx, args[1:])
			if errors.Is(err, pflag.ErrHelp) {
				return nil // it has been printed
			}
			return err
		}
	}
	return usageError("unrecognized command \"%s\"", args[0])
}

// exitStatus is an error that has been reported already.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func exitCode(err error) int {
	var status exitStatus
	var words *ctlError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &words):
		return words.status
	}
	return 1
}

// complain reports an error as PostgreSQL's client programs do.
func complain(w io.Writer, err error) {
	var status exitStatus
	if err == nil || errors.As(err, &status) {
		return
	}
	if words, ok := errors.AsType[*ctlError](err); ok {
		fmt.Fprintf(w, "pgexthost: %s\n", words.text)
		return
	}
	printReport(w, elog.AsErrorData(err, elog.Error))
}

// printReport prints a report as PostgreSQL's client programs do.
func printReport(w io.Writer, report *elog.ErrorData) {
	level := strings.ToLower(report.Level.String())
	for _, part := range [...]struct{ label, text string }{
		{level, report.Message}, {"detail", report.Detail}, {"hint", report.Hint}, {"context", report.Context},
	} {
		if part.text != "" {
			fmt.Fprintf(w, "pgexthost: %s: %s\n", part.label, part.text)
		}
	}
}
